import { fromJson, toJson, type JsonValue } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { LimitSchema, type Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { StoredLimit } from "../core/limit-set.ts";
import type { Rule } from "../core/rule.ts";

/** ListLimits has no pages, and every replica holds them all. */
export const maxLimits = 10_000;

type Kind = "token_bucket" | "sliding_window" | "concurrency";

interface LimitRow {
  limit_id: bigint | null;
  kind: Kind;
  token_grains: bigint;
  refill_grains: bigint;
  capacity_grains: bigint;
  window_us: bigint;
  slot_us: bigint;
  definition: JsonValue;
  update_time: Date;
  revision: bigint;
}

const listLimits = prepared<LimitRow>(
  "list-limits",
  `select l.limit_id, l.kind, l.token_grains, l.refill_grains, l.capacity_grains, l.window_us, l.slot_us, l.definition,
     l.update_time, r.value as revision
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
    return [{ limitId: row.limit_id, rule: ruleOfRow(row), limit }];
  });
  return { revision: rows[0]!.revision, limits };
}

function ruleOfRow(row: LimitRow): Rule | undefined {
  switch (row.kind) {
    case "token_bucket":
      return { kind: "tokens", token: row.token_grains, refill: row.refill_grains, capacity: row.capacity_grains };
    case "sliding_window":
      return { kind: "window", windowUs: row.window_us, slotUs: row.slot_us, count: row.capacity_grains };
    case "concurrency":
      return undefined;
    default:
      throw row.kind satisfies never;
  }
}

function columnsOf(rule: Rule | undefined) {
  const none = { token: 1n, refill: 1n, capacity: 1n, windowUs: 0n, slotUs: 1n };
  switch (rule?.kind) {
    case "tokens":
      return { ...none, ...rule, kind: "token_bucket" };
    case "window":
      return { ...none, capacity: rule.count, windowUs: rule.windowUs, slotUs: rule.slotUs, kind: "sliding_window" };
    case undefined:
      return { ...none, kind: "concurrency" };
    default:
      throw rule satisfies undefined;
  }
}

const readRevisionStatement = prepared<{ value: bigint }>("read-revision", "select value from revision");

export async function readRevision(pool: ConnectionPool): Promise<bigint> {
  const [row] = await pool.run(readRevisionStatement);
  return row!.value;
}

const setLimitStatement = prepared<{ update_time: Date }>(
  "set-limit",
  "select * from set_limit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12)",
);

/** When it was set; undefined when there are `maxLimits` already. */
export async function setLimit(
  pool: ConnectionPool,
  limit: Limit,
  rule: Rule | undefined,
  nowUs?: bigint,
): Promise<Date | undefined> {
  const definition = JSON.stringify(toJson(LimitSchema, limit));
  const { namespace, name, unit } = limit;
  const { kind, token, refill, capacity, windowUs, slotUs } = columnsOf(rule);
  const [row] = await pool.run(setLimitStatement, [
    namespace,
    name,
    unit,
    kind,
    token,
    refill,
    capacity,
    windowUs,
    slotUs,
    definition,
    maxLimits,
    nowUs,
  ]);
  return row?.update_time;
}

const deleteLimitStatement = prepared<{ existed: boolean }>("delete-limit", "select delete_limit($1, $2) as existed");

/** Whether there was one. */
export async function deleteLimit(pool: ConnectionPool, namespace: string, name: string): Promise<boolean> {
  const [row] = await pool.run(deleteLimitStatement, [namespace, name]);
  return row!.existed;
}
