import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export interface CleaningPosition {
  readonly limitId: bigint;
  readonly key: string;
}

const buckets = prepared<{ after_limit: bigint | null; after_key: string; deleted: bigint }>(
  "clean-buckets",
  "select * from clean_buckets($1, $2, $3)",
);

/** Looks at some buckets and deletes the full ones; `next` is undefined at the end of the table. */
export async function cleanBuckets(
  pool: ConnectionPool,
  after: CleaningPosition | undefined,
  maxRows: number,
): Promise<{ next: CleaningPosition | undefined; deleted: number }> {
  const [row] = await pool.run(buckets, [after?.limitId ?? 0n, after?.key ?? "", maxRows]);
  const { after_limit, after_key, deleted } = row!;
  return {
    next: after_limit === null ? undefined : { limitId: after_limit, key: after_key },
    deleted: Number(deleted),
  };
}

const leases = prepared<{ ended: bigint }>("clean-leases", "select clean_leases($1) as ended");

/** Ends leases that have expired and returns how many. */
export async function cleanLeases(pool: ConnectionPool, maxRows: number): Promise<number> {
  const [row] = await pool.run(leases, [maxRows]);
  return Number(row!.ended);
}

const reservations = prepared<{ deleted: bigint }>(
  "clean-reservations",
  "select clean_reservations($1, $2) as deleted",
);

/** Deletes reservations made more than `ageMs` ago and returns how many. */
export async function cleanReservations(pool: ConnectionPool, ageMs: number, maxRows: number): Promise<number> {
  const [row] = await pool.run(reservations, [ageMs * 1_000, maxRows]);
  return Number(row!.deleted);
}
