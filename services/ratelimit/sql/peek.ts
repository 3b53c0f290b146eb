import { int8Array, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { type Bucket, freshBucket } from "../core/bucket.ts";

interface Row {
  revision: bigint;
  now_us: bigint;
  spent: bigint | null;
  at_us: bigint;
  log_at: bigint[];
  log_cost: bigint[];
  shift_us: bigint;
  pause_until_us: bigint;
  lease_ids: bigint[];
  holders: string[];
  granted: bigint[];
  granted_us: bigint[];
  expires_us: bigint[];
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
  buckets: readonly { readonly stored: { readonly limitId: bigint }; readonly key: string }[],
  nowUs?: bigint,
): Promise<Sight | undefined> {
  const rows = await pool.run(statement, [
    int8Array(buckets.map(({ stored }) => stored.limitId)),
    textArray(buckets.map(({ key }) => key)),
    nowUs,
  ]);
  const [first] = rows;
  if (first?.revision !== revision) return undefined;
  return { nowUs: first.now_us, buckets: buckets.map((_, index) => bucketOf(rows[index]!)) };
}

function bucketOf(row: Row): Bucket {
  if (row.spent === null) return freshBucket;
  return {
    spent: row.spent,
    atUs: row.at_us,
    log: row.log_at.map((atUs, i) => ({ atUs, cost: row.log_cost[i]! })),
    leases: row.lease_ids.map((leaseId, i) => ({
      leaseId,
      holderId: row.holders[i]!,
      granted: row.granted[i]!,
      grantedUs: row.granted_us[i]!,
      endUs: row.expires_us[i]!,
    })),
    shiftUs: row.shift_us,
    gaveBack: [],
    pauseUntilUs: row.pause_until_us,
  };
}

const keysStatement = prepared<{ key: string }>("keys-in-use", "select keys_in_use($1, $2) as key");

/** The keys of some buckets of a limit that are not as if never used, by key. */
export async function keysInUse(pool: ConnectionPool, limitId: bigint, maxKeys: number): Promise<string[]> {
  return (await pool.run(keysStatement, [limitId, maxKeys])).map(({ key }) => key);
}
