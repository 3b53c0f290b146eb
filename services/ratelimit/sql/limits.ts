import { fromJson, toJson, type JsonValue } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { LimitSchema, type Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { TokenRate } from "../core/gcra.ts";
import type { StoredLimit } from "../core/limit-set.ts";

/** ListLimits has no pages, and every replica holds them all. */
export const maxLimits = 10_000;

interface LimitRow {
  limit_id: bigint | null;
  token_grains: bigint;
  refill_grains: bigint;
  capacity_grains: bigint;
  definition: JsonValue;
  update_time: Date;
  revision: bigint;
}

const listLimits = prepared<LimitRow>(
  "list-limits",
  `select l.limit_id, l.token_grains, l.refill_grains, l.capacity_grains, l.definition, l.update_time, r.value as revision
   from revision r left join limits l on $1 = '' or l.namespace = $1
   order by l.namespace, l.name`,
);

/** The limits by namespace and name, and the revision they are of. An empty namespace means all. */
export async function readLimits(
  pool: ConnectionPool,
  namespace: string,
): Promise<{ revision: bigint; limits: StoredLimit[] }> {
  const rows = await pool.run(listLimits, [namespace]);
  const limits = rows.flatMap((row) => {
    if (row.limit_id === null) return [];
    const limit = fromJson(LimitSchema, row.definition, { ignoreUnknownFields: true });
    limit.updateTime = timestampFromDate(row.update_time);
    const rate = { token: row.token_grains, refill: row.refill_grains, capacity: row.capacity_grains };
    return [{ limitId: row.limit_id, rate, limit }];
  });
  return { revision: rows[0]!.revision, limits };
}

const readRevisionStatement = prepared<{ value: bigint }>("read-revision", "select value from revision");

export async function readRevision(pool: ConnectionPool): Promise<bigint> {
  const [row] = await pool.run(readRevisionStatement);
  return row!.value;
}

const setLimitStatement = prepared<{ update_time: Date }>(
  "set-limit",
  "select * from set_limit($1, $2, $3, $4, $5, $6, $7::jsonb, $8)",
);

/** When it was set; undefined when there are `maxLimits` already. */
export async function setLimit(pool: ConnectionPool, limit: Limit, rate: TokenRate): Promise<Date | undefined> {
  const definition = JSON.stringify(toJson(LimitSchema, limit));
  const { namespace, name, unit } = limit;
  const { token, refill, capacity } = rate;
  const [row] = await pool.run(setLimitStatement, [
    namespace,
    name,
    unit,
    token,
    refill,
    capacity,
    definition,
    maxLimits,
  ]);
  return row?.update_time;
}

const deleteLimitStatement = prepared<{ existed: boolean }>("delete-limit", "select delete_limit($1, $2) as existed");

/** Whether there was one. */
export async function deleteLimit(pool: ConnectionPool, namespace: string, name: string): Promise<boolean> {
  const [row] = await pool.run(deleteLimitStatement, [namespace, name]);
  return row!.existed;
}
