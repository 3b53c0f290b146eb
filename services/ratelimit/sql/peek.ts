import { int8Array, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import type { Bucket } from "../core/gcra.ts";
import type { PlannedBucket } from "../core/plan.ts";

interface Row {
  revision: bigint;
  now_us: bigint;
  spent: string | null;
  at_us: string | null;
  leased: string | null;
  lease_end_us: string | null;
}

const statement = prepared<Row>("peek", "select * from peek($1::int8[], $2::text[], $3)");

export interface Sight {
  readonly nowUs: bigint;
  /** In the order asked for. */
  readonly buckets: Bucket[];
}

/** Reads buckets and takes nothing. Undefined when the limits are no longer those of `revision`. */
export async function peek(
  pool: ConnectionPool,
  revision: bigint,
  buckets: readonly PlannedBucket[],
  nowUs?: bigint,
): Promise<Sight | undefined> {
  const [row] = await pool.run(statement, [
    int8Array(buckets.map(({ stored }) => stored.limitId)),
    textArray(buckets.map(({ key }) => key)),
    nowUs,
  ]);
  if (row?.revision !== revision) return undefined;
  const spent = bigints(row.spent);
  const atUs = bigints(row.at_us);
  const leased = bigints(row.leased);
  const leaseEndUs = bigints(row.lease_end_us);
  return {
    nowUs: row.now_us,
    buckets: spent.map((grains, i) => ({
      spent: grains,
      atUs: atUs[i]!,
      leased: leased[i]!,
      leaseEndUs: leaseEndUs[i]!,
    })),
  };
}

function bigints(list: string | null): bigint[] {
  return list === null ? [] : list.split(",").map(BigInt);
}
