import { int4Array, int8Array, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import type { Plan } from "../core/plan.ts";

export interface Decision {
  /** Number of the bucket that refused, counted from 1; 0: admitted. */
  readonly refusedBy: number;
  /** Microseconds; undefined: waiting does not help. */
  readonly waitUs: bigint | undefined;
  /** Whether that bucket is paused. */
  readonly paused: boolean;
}

interface Row {
  revision: bigint;
  refused_by: string | null;
  wait_us: string | null;
  paused: string | null;
}

const statement = prepared<Row>(
  "acquire",
  `select * from acquire($1, $2::int8[], $3::text[], $4::int4[], $5::int4[], $6::int8[], $7::text[], $8::text[],
     $9::int4[], $10)`,
);

/**
 * Decides and takes, in one transaction. Undefined when the limits are no longer those of `revision`: nothing was done.
 * @param nowUs instead of Postgres's clock, for tests.
 */
export async function acquire(
  pool: Pick<ConnectionPool, "run">,
  revision: bigint,
  plan: Plan,
  nowUs?: bigint,
): Promise<Decision[] | undefined> {
  const [row] = await pool.run(statement, [
    revision,
    int8Array(plan.buckets.map(({ stored }) => stored.limitId)),
    textArray(plan.buckets.map(({ key }) => key)),
    int4Array(plan.firstChecks),
    int4Array(plan.checkBuckets),
    int8Array(plan.checkCosts),
    textArray(plan.namespaces),
    textArray(plan.reservationIds),
    int4Array(plan.orders),
    nowUs,
  ]);
  if (row?.refused_by == null || row.wait_us === null) return undefined;
  const waits = row.wait_us.split(",");
  const paused = new Set(row.paused?.split(",").map(Number));
  return row.refused_by.split(",").map((refusedBy, index) => {
    const wait = waits[index]!;
    const bucket = Number(refusedBy);
    return { refusedBy: bucket, waitUs: wait === "-1" ? undefined : BigInt(wait), paused: paused.has(bucket) };
  });
}
