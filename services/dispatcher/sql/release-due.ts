import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export interface ReleasedTask {
  readonly route_key: number;
  readonly rank: number;
  readonly task_key: number;
  /** Set for a task that limits apply to: it is parked, not queued. */
  readonly lane_key: number | null;
}

const release = prepared<ReleasedTask>(
  "release_due",
  `
  with due as materialized (
    select task_key from scheduled
    where due_time >= to_timestamp($2::float8 / 1000) and due_time <= now()
    order by due_time limit $1 for update skip locked
  ), gone as (
    delete from scheduled s using due d where s.task_key = d.task_key returning s.*
  ), queued as (
    insert into queue (route_key, rank, task_key, segment, attempts, submitter, last_failure)
    select route_key, rank, task_key, segment, attempts, submitter, last_failure from gone where lane_key is null
  ), held_back as (
    insert into parked (lane_key, rank, task_key, segment, route_key, attempts, submitter, last_failure, paid, spent)
    select lane_key, rank, task_key, segment, route_key, attempts, submitter, last_failure, paid, spent
    from gone where lane_key is not null
  ), headed as (
    insert into heads (lane_key, next_time)
    select distinct lane_key, now() from gone where lane_key is not null order by lane_key
    on conflict (lane_key) do update set next_time = heads.next_time
  )
  select route_key, rank, task_key::float8, lane_key::float8 from gone`,
);

/**
 * Moves the tasks whose time has come, at most `limit`, into the queue; those that limits apply to are parked.
 * @param fromMs what was due before is known to be gone; milliseconds since the epoch, 0: nothing is known.
 */
export function releaseDue(pool: ConnectionPool, limit: number, fromMs: number): Promise<ReleasedTask[]> {
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
