import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import {
  AcquisitionSchema,
  type Acquisition,
  type AcquireResult,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { errorMetadata, errorRetryDelayMs, isUnavailable, toConnectError } from "#libs/rpc/errors.ts";
import type { Candidate, LaneEnd, RateAnswer } from "../core/round.ts";
import type { GatekeeperParts, LiveGate, Parked } from "./gatekeeper.ts";
import type { LimitSource } from "./lane-admission.ts";
import { gateName } from "./lane-table.ts";

type Asked = Pick<GatekeeperParts, "limits" | "rateLimit">;

// An arbiter that does not answer in time is taken for away.
const askTimeoutMs = 2_000;
const longestRestMs = 1_000;

/** Asks the rates of all who have not passed them yet, in order. Whoever is missing from the answer may go on. */
export async function askRates(
  parts: Asked,
  candidates: readonly Candidate<Parked>[],
  gates: ReadonlyMap<number, LiveGate>,
): Promise<Map<Candidate<Parked>, RateAnswer>> {
  const asking = candidates.filter(({ task }) => !task.paid);
  if (asking.length === 0) return new Map();
  const byName = new Map(
    [...gates.values()].map(({ row }) => [
      gateName({ namespace: row.namespace, limit: row.limit_name, key: row.bucket_key }),
      row.gate_key,
    ]),
  );
  const keyOf = (task: TaskSpec, limit: string, key: string): number | null =>
    byName.get(gateName({ namespace: task.namespace, limit, key })) ?? null;
  let results: AcquireResult[];
  try {
    const acquisitions = asking.map(({ task }) => toAcquisition(task.spec));
    results = (await parts.rateLimit.acquire({ acquisitions, inOrder: true }, { timeoutMs: askTimeoutMs })).results;
  } catch (error) {
    const isAway = isUnavailable(error) || toConnectError(error).code === Code.DeadlineExceeded;
    if (!isAway) throw error;
    return askOneByOne(parts.limits, asking, keyOf);
  }
  return new Map(
    asking.map((candidate, index): [Candidate<Parked>, RateAnswer] => {
      const { allowed = false, limit = "", key = "", retryDelay } = results[index] ?? {};
      if (allowed) return [candidate, undefined];
      // The limit was made smaller after it was accepted.
      if (retryDelay === undefined) return [candidate, "never"];
      return [candidate, { delayMs: durationMs(retryDelay), gateKey: keyOf(candidate.task.spec, limit, key) }];
    }),
  );
}

/** While the arbiter is away each limit's own rule for that time decides. */
async function askOneByOne(
  limits: Pick<LimitSource, "admit">,
  asking: readonly Candidate<Parked>[],
  keyOf: (task: TaskSpec, limit: string, key: string) => number | null,
): Promise<Map<Candidate<Parked>, RateAnswer>> {
  const answers = new Map<Candidate<Parked>, RateAnswer>();
  const closed = new Map<number, LaneEnd>();
  for (const candidate of asking) {
    const { lane, task } = candidate;
    const end = closed.get(lane.laneKey);
    if (end !== undefined) {
      answers.set(candidate, { delayMs: end.delayMs, gateKey: end.blockedBy });
      continue;
    }
    try {
      await limits.admit(task.spec);
      answers.set(candidate, undefined);
    } catch (error) {
      const { limit = "", key = "" } = errorMetadata(error);
      const gateKey = keyOf(task.spec, limit, key);
      const delayMs = errorRetryDelayMs(error) ?? longestRestMs;
      closed.set(lane.laneKey, { delayMs, blockedBy: gateKey });
      answers.set(candidate, { delayMs, gateKey });
    }
  }
  return answers;
}

/** As for a task that asks at its submission: whoever asks again under the same id takes nothing more. */
function toAcquisition(task: TaskSpec): Acquisition {
  return create(AcquisitionSchema, {
    reservationId: `${task.namespace}/${task.taskId}`,
    namespace: task.namespace,
    capability: task.capability,
    user: task.user,
    labels: task.labels,
    costs: task.costs,
  });
}
