import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type {
  ShouldRollbackRequest,
  ShouldRollbackResponseSchema,
} from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { Rings } from "../core/rings.ts";
import { judgeAgent } from "../core/verdicts.ts";
import { loadAgent } from "../load.ts";
import type { SubjectDirectory } from "../subject-directory.ts";

/**
 * Judges the version that the agent executed with last by the trials of its capabilities (see core/trial.ts). Nothing is done
 * about the answer.
 * @throws AGENT_NOT_FOUND if no execution of the agent is known.
 */
export async function shouldRollback(
  { namespace: given, agentId }: ShouldRollbackRequest,
  pool: ConnectionPool,
  rings: Rings,
  subjects: SubjectDirectory,
  clock: Clock,
): Promise<MessageInitShape<typeof ShouldRollbackResponseSchema>> {
  const namespace = given || "default";
  const known =
    rings.agent(namespace, agentId) !== undefined ||
    (!agentId.includes("\0") && (await loadAgent(pool, rings, subjects, { namespace, agentId })));
  const agent = known ? rings.agent(namespace, agentId) : undefined;
  if (agent === undefined) {
    throw legionError(
      "AGENT_NOT_FOUND",
      `No execution of the agent ${agentId} in the namespace ${namespace} is known.`,
      {
        metadata: { namespace, agent_id: agentId },
      },
    );
  }
  const { verdict, ...answer } = judgeAgent(agent, rings, (id) => subjects.subject(id));
  return { ...answer, verdict: { ...verdict, verdictTime: timestampFromMs(clock.now()) } };
}
