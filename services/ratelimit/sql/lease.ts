import { int8Array, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export interface LeaseWish {
  readonly limitId: bigint;
  readonly key: string;
  /** 0: none. */
  readonly returns: bigint;
  readonly unspent: bigint;
  /** How long ago the last of them was spent. */
  readonly lastUseAgeUs: bigint;
  readonly want: bigint;
}

export interface Grant {
  /** 0: nothing was granted. */
  readonly lease_id: bigint;
  readonly granted: bigint;
  readonly retry_us: bigint | null;
  readonly revision: bigint;
}

const statement = prepared<Grant>(
  "lease",
  "select * from lease($1, $2::int8[], $3::text[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8, $9)",
);

export async function lease(
  pool: ConnectionPool,
  holderId: string,
  wishes: readonly LeaseWish[],
  leaseUs: bigint,
  nowUs?: bigint,
): Promise<Grant[]> {
  return await pool.run(statement, [
    holderId,
    int8Array(wishes.map(({ limitId }) => limitId)),
    textArray(wishes.map(({ key }) => key)),
    int8Array(wishes.map(({ returns }) => returns || null)),
    int8Array(wishes.map(({ unspent }) => unspent)),
    int8Array(wishes.map(({ lastUseAgeUs }) => lastUseAgeUs)),
    int8Array(wishes.map(({ want }) => want)),
    leaseUs,
    nowUs,
  ]);
}
