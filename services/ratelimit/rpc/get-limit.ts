import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { GetLimitRequest, GetLimitResponseSchema } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { namespaceOf } from "../core/plan.ts";
import { withExpired } from "../core/rule.ts";
import { limitNotFound, refuseNul } from "../failures.ts";
import type { LimitsCache } from "../limits-cache.ts";
import { keysInUse, peek } from "../sql/peek.ts";
import { bucketState, holdersOf } from "./bucket-state.ts";

const maxBuckets = 100;

/** A limit with one of its buckets, or with those in use. */
export async function getLimit(
  { namespace, name, key }: GetLimitRequest,
  pool: ConnectionPool,
  limits: LimitsCache,
): Promise<MessageInitShape<typeof GetLimitResponseSchema>> {
  refuseNul("namespace", namespace);
  refuseNul("name", name);
  let current = await limits.refresh();
  for (;;) {
    const stored = current.find(namespaceOf(namespace), name);
    if (stored === undefined) throw limitNotFound(namespace, name);
    const { limit, limitId, rule } = stored;
    const keys = key === undefined ? await keysInUse(pool, limitId, maxBuckets) : [key];
    const buckets = keys.map((each) => ({ stored, key: each }));
    const sight = await peek(pool, current.revision, buckets);
    if (sight !== undefined) {
      const { nowUs } = sight;
      const states = sight.buckets.map((bucket, index) => {
        const left = rule === undefined ? bucket : withExpired(bucket, rule, nowUs);
        const state = bucketState(limit.name, keys[index]!, rule, left, nowUs);
        state.holders.push(...holdersOf(left, nowUs));
        return state;
      });
      return { limit, states };
    }
    current = await limits.reload();
  }
}
