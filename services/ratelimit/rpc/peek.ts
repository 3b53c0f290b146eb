import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type {
  Acquisition,
  PeekRequest,
  PeekResponseSchema,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import type { Result } from "../acquirer.ts";
import { type Bucket, fullInUs, remaining, waitUs } from "../core/gcra.ts";
import type { LimitSet } from "../core/limit-set.ts";
import { type Check, checksOf, missingLimit } from "../core/plan.ts";
import { limitNotFound } from "../failures.ts";
import type { LimitsCache } from "../limits-cache.ts";
import { peek as readBuckets } from "../sql/peek.ts";
import { resultMessage } from "./acquire.ts";
import { durationFromUs } from "./durations.ts";

/**
 * What `Acquire` would answer now, and the state of each bucket that applies; takes nothing. It does not look whether the
 * reservation_id is taken already.
 */
export async function peek(
  request: PeekRequest,
  pool: ConnectionPool,
  limits: LimitsCache,
): Promise<MessageInitShape<typeof PeekResponseSchema>> {
  const acquisition = request.acquisition!;
  const { checks, nowUs, buckets } = await look(acquisition, pool, limits);
  const states = checks.map(({ bucket: { stored, key } }, index) => {
    const bucket = buckets[index]!;
    return {
      name: stored.limit.name,
      key,
      remaining: remaining(bucket, stored.rate, nowUs),
      resetDelay: durationFromUs(fullInUs(bucket, stored.rate, nowUs)),
      leased: bucket.leased,
    };
  });
  return { result: resultMessage(resultOf(checks, buckets, nowUs)), states };
}

async function look(acquisition: Acquisition, pool: ConnectionPool, limits: LimitsCache) {
  let current: LimitSet = limits.current;
  for (;;) {
    const checks = checksOf(current, acquisition);
    const sight = await readBuckets(
      pool,
      current.revision,
      checks.map(({ bucket }) => bucket),
    );
    if (sight !== undefined) {
      const missing = missingLimit(current, acquisition);
      if (missing !== undefined) throw limitNotFound(acquisition.namespace, missing);
      return { checks, ...sight };
    }
    current = await limits.reload();
  }
}

function resultOf(checks: readonly Check[], buckets: readonly Bucket[], nowUs: bigint): Result {
  let worst: Result = { refusedBy: undefined, waitUs: 0n };
  for (const [index, { bucket, cost }] of checks.entries()) {
    const wait = waitUs(buckets[index]!, bucket.stored.rate, cost, nowUs);
    if (wait === undefined) return { refusedBy: bucket, waitUs: undefined };
    if (wait > (worst.waitUs ?? 0n)) worst = { refusedBy: bucket, waitUs: wait };
  }
  return worst;
}
