import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

const release = prepared<{ route_key: number; rank: number; task_key: number }>(
  "release_due",
  `
  with due as materialized (
    select task_key from scheduled where due_time <= now() order by due_time limit $1 for update skip locked
  ), gone as (
    delete from scheduled s using due d where s.task_key = d.task_key returning s.*
  )
  insert into queue (route_key, rank, task_key, segment, attempts, submitter, last_failure)
  select route_key, rank, task_key, segment, attempts, submitter, last_failure from gone
  returning route_key, rank, task_key::float8`,
);

/** Moves the tasks whose time has come, at most `limit`, into the queue. */
export function releaseDue(
  pool: ConnectionPool,
  limit: number,
): Promise<{ route_key: number; rank: number; task_key: number }[]> {
  return pool.run(release, [limit]);
}

const next = prepared<{ delay_ms: number }>(
  "next_due",
  `
  select extract(epoch from due_time - now())::float8 * 1000 as delay_ms
  from scheduled order by due_time limit 1`,
);

/** Milliseconds until the next task's time; undefined if none waits for its time. */
export async function nextDueDelayMs(pool: ConnectionPool): Promise<number | undefined> {
  const [row] = await pool.run(next);
  return row?.delay_ms;
}
