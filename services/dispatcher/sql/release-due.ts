import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

const release = prepared<{ route_key: number; rank: number; task_key: number }>(
  "release_due",
  `
  with due as materialized (
    select task_key from scheduled
    where due_time >= to_timestamp($2::float8 / 1000) and due_time <= now()
    order by due_time limit $1 for update skip locked
  ), gone as (
    delete from scheduled s using due d where s.task_key = d.task_key returning s.*
  )
  insert into queue (route_key, rank, task_key, segment, attempts, submitter, last_failure)
  select route_key, rank, task_key, segment, attempts, submitter, last_failure from gone
  returning route_key, rank, task_key::float8`,
);

/**
 * Moves the tasks whose time has come, at most `limit`, into the queue.
 * @param fromMs what was due before is known to be gone; milliseconds since the epoch, 0: nothing is known.
 */
export function releaseDue(
  pool: ConnectionPool,
  limit: number,
  fromMs: number,
): Promise<{ route_key: number; rank: number; task_key: number }[]> {
  return pool.run(release, [limit, fromMs]);
}

const next = prepared<{ delay_ms: number }>(
  "next_due",
  `
  select extract(epoch from due_time - now())::float8 * 1000 as delay_ms
  from scheduled where due_time >= to_timestamp($1::float8 / 1000) order by due_time limit 1`,
);

/** Milliseconds until the next task's time; undefined if none waits for its time. */
export async function nextDueDelayMs(pool: ConnectionPool, fromMs: number): Promise<number | undefined> {
  const [row] = await pool.run(next, [fromMs]);
  return row?.delay_ms;
}
