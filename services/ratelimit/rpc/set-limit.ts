import { clone, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { LimitSchema } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { SetLimitRequest, SetLimitResponseSchema } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { isRefusal, ruleOf } from "../core/limit-rule.ts";
import { namespaceOf } from "../core/plan.ts";
import { maxLimits, setLimit as storeLimit } from "../sql/limits.ts";

/**
 * Creates or replaces a limit: in force for whatever is decided after the answer, at every replica. Buckets keep the tokens
 * they hold, up to the new burst, and what a window counts, unless the kind, the unit or the dimensions change: then all begin anew.
 */
export async function setLimit(
  request: SetLimitRequest,
  pool: ConnectionPool,
): Promise<MessageInitShape<typeof SetLimitResponseSchema>> {
  const limit = clone(LimitSchema, request.limit!);
  const rule = ruleOf(limit);
  if (isRefusal(rule)) {
    const violations = [{ field: rule.field, description: rule.refusal }];
    throw legionError("INVALID_REQUEST", rule.refusal, { violations });
  }
  limit.namespace = namespaceOf(limit.namespace);
  delete limit.updateTime;
  const updateTime = await storeLimit(pool, limit, rule);
  if (updateTime === undefined) {
    throw legionError("INVALID_REQUEST", `There are ${maxLimits} limits already, the most there can be: delete some.`);
  }
  limit.updateTime = timestampFromDate(updateTime);
  return { limit };
}
