import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

const pauseStatement = prepared<{ until_us: bigint | null }>(
  "pause-limit",
  "select pause_limit($1, $2, $3, $4, $5) as until_us",
);

/**
 * Until when the bucket is paused now, in microseconds since 1970; 0: it is not. Undefined when there is no such limit.
 * @param durationUs 0 ends a pause; one that already lasts longer is kept.
 */
export async function pauseLimit(
  pool: ConnectionPool,
  bucket: { readonly namespace: string; readonly limit: string; readonly key: string },
  durationUs: bigint,
  nowUs?: bigint,
): Promise<bigint | undefined> {
  const [row] = await pool.run(pauseStatement, [bucket.namespace, bucket.limit, bucket.key, durationUs, nowUs]);
  return row?.until_us ?? undefined;
}

export interface StoredPause {
  readonly namespace: string;
  readonly limit: string;
  readonly key: string;
  readonly remaining_us: bigint;
}

/** ListLimits has no pages. */
const maxPauses = 10_000;

const listStatement = prepared<StoredPause>(
  "list-pauses",
  `select l.namespace, l.name as "limit", b.key, b.pause_until_us - n.now_us as remaining_us
   from (select clock_us() as now_us) n, buckets b, limits l
   where b.pause_until_us > 0 and b.pause_until_us > n.now_us and l.limit_id = b.limit_id
     and ($1 = '' or l.namespace = $1)
   order by b.pause_until_us desc limit $2`,
);

/** Those under way; an empty namespace means all. */
export async function readPauses(pool: ConnectionPool, namespace: string): Promise<StoredPause[]> {
  return await pool.run(listStatement, [namespace, maxPauses]);
}

const revisionStatement = prepared<{ revision: bigint }>(
  "read-listing-revision",
  "select value + pauses as revision from revision",
);

/** Grows with every change of a limit or a pause. */
export async function readListingRevision(pool: ConnectionPool): Promise<bigint> {
  const [row] = await pool.run(revisionStatement);
  return row!.revision;
}
