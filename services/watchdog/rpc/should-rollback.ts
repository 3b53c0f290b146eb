import type { MessageInitShape } from "@bufbuild/protobuf";
import { VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import type {
  ShouldRollbackRequest,
  ShouldRollbackResponseSchema,
} from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Rings } from "../core/rings.ts";
import { loadAgent } from "../load.ts";
import { readOpenIncidents } from "../sql/incidents.ts";
import type { SubjectDirectory } from "../subject-directory.ts";
import type { Watch } from "../watch.ts";

const severity: readonly VerdictKind[] = [
  VerdictKind.LEAKING,
  VerdictKind.FAILING,
  VerdictKind.SLOWER,
  VerdictKind.HEALTHY,
  VerdictKind.UNDECIDED,
];
const badKinds = severity.slice(0, 3);

/**
 * Says whether the version that the agent executed with last should be rolled back: when the trial of any of its capabilities
 * has a bad verdict. An agent that is bad beside the others of its version is not its version.
 * @throws AGENT_NOT_FOUND if no execution of the agent is known.
 */
export async function shouldRollback(
  { namespace: given, agentId }: ShouldRollbackRequest,
  pool: ConnectionPool,
  rings: Rings,
  subjects: SubjectDirectory,
  watch: Watch,
): Promise<MessageInitShape<typeof ShouldRollbackResponseSchema>> {
  const namespace = given || "default";
  await watch.catchUp();
  const known =
    rings.agent(namespace, agentId) !== undefined ||
    (!agentId.includes("\0") && (await loadAgent(pool, rings, subjects, { namespace, agentId })));
  const agent = known ? rings.agent(namespace, agentId) : undefined;
  if (agent === undefined) {
    throw legionError(
      "AGENT_NOT_FOUND",
      `No execution of the agent ${agentId} in the namespace ${namespace} is known.`,
      { metadata: { namespace, agent_id: agentId } },
    );
  }
  const { name, version } = agent.subject;
  const own = await readOpenIncidents(pool);
  const ejection = own.find((incident) => incident.namespace === namespace && incident.agentId === agentId);
  if (ejection !== undefined) {
    const reason = `${ejection.summary} It is the agent, not version ${version}.`;
    return { shouldRollback: false, reason, verdict: ejection.verdict };
  }
  const judged = (await watch.judged(namespace, name, 1_000)).filter((trial) => trial.version === version);
  const worst = judged
    .map(({ verdict }) => verdict)
    .toSorted((a, b) => severity.indexOf(a.kind ?? 0) - severity.indexOf(b.kind ?? 0))[0];
  if (worst === undefined) {
    const reason = `Version ${version} of ${name} was not judged yet.`;
    return { shouldRollback: false, reason, verdict: { namespace, name, version, kind: VerdictKind.UNDECIDED } };
  }
  return { shouldRollback: badKinds.includes(worst.kind ?? 0), reason: worst.summary ?? "", verdict: worst };
}
