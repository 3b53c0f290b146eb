import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type {
  Acquisition,
  PeekRequest,
  PeekResponseSchema,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import type { Result } from "../acquirer.ts";
import type { Bucket } from "../core/bucket.ts";
import type { LimitSet } from "../core/limit-set.ts";
import { type Check, checksOf, missingLimit } from "../core/plan.ts";
import { waitUs, withExpired } from "../core/rule.ts";
import { limitNotFound } from "../failures.ts";
import type { LimitsCache } from "../limits-cache.ts";
import { peek as readBuckets } from "../sql/peek.ts";
import { resultMessage } from "./acquire.ts";
import { bucketState } from "./bucket-state.ts";

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
  const states = checks.map(({ bucket: { stored, key } }, index) =>
    bucketState(stored.limit.name, key, stored.rule, buckets[index]!, nowUs),
  );
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
      const buckets = sight.buckets.map((bucket, index) =>
        withExpired(bucket, checks[index]!.bucket.stored.rule, sight.nowUs),
      );
      return { checks, nowUs: sight.nowUs, buckets };
    }
    current = await limits.reload();
  }
}

function resultOf(checks: readonly Check[], buckets: readonly Bucket[], nowUs: bigint): Result {
  let worst: Result = { refusedBy: undefined, waitUs: 0n, paused: false };
  for (const [index, { bucket, cost }] of checks.entries()) {
    const wait = waitUs(buckets[index]!, bucket.stored.rule, cost, nowUs);
    const paused = buckets[index]!.pauseUntilUs > nowUs;
    if (wait === undefined) return { refusedBy: bucket, waitUs: undefined, paused };
    if (wait > (worst.waitUs ?? 0n)) worst = { refusedBy: bucket, waitUs: wait, paused };
  }
  return worst;
}
