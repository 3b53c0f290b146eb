import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export interface ParkedPlace {
  readonly attempts: number;
  readonly last_failure: Buffer | null;
  /** Tasks before it in its lane, counted to 10,001 at most. */
  readonly ahead: number;
  /** The limit that its lane waits for, and which bucket of it; null: it was not tried yet. */
  readonly limit_name: string | null;
  readonly bucket_key: string | null;
  /** Until its lane is tried next, and until the limit's pause ends; milliseconds. */
  readonly delay_ms: number | null;
  readonly pause_ms: number;
  /** What of a concurrency limit runs now; null: it waits for another kind. */
  readonly held: number | null;
}

const find = prepared<ParkedPlace>(
  "find_parked",
  `
  select p.attempts, p.last_failure, (
    select count(*) from (
      select from parked a where a.lane_key = p.lane_key and (a.rank, a.task_key) < (p.rank, p.task_key) limit 10001
    ) x
  )::int4 as ahead,
    g.limit_name, g.bucket_key, extract(epoch from h.next_time - now())::float8 * 1000 as delay_ms,
    greatest(0, extract(epoch from nullif(g.pause_until, '-infinity') - now())::float8 * 1000) as pause_ms,
    case when g.gate_key = any(l.slot_gates) then g.held end as held
  from parked p
  join lanes l using (lane_key)
  left join heads h using (lane_key)
  left join gates g on g.gate_key = h.blocked_by
  where p.task_key = $1`,
);

/** Where a task that limits hold back stands. Undefined if it is not parked. */
export async function findParked(pool: ConnectionPool, taskKey: number): Promise<ParkedPlace | undefined> {
  const [row] = await pool.run(find, [taskKey]);
  return row;
}

const byLimit = prepared<{ limit_name: string | null; tasks: number }>(
  "parked_by_limit",
  `
  select g.limit_name, sum(p.tasks)::float8 as tasks
  from (select lane_key, count(*) as tasks from parked group by lane_key) p
  left join heads h using (lane_key) left join gates g on g.gate_key = h.blocked_by
  group by g.limit_name`,
);

/** How many tasks wait for which limit. Null: they were not tried yet. */
export function parkedByLimit(pool: ConnectionPool): Promise<{ limit_name: string | null; tasks: number }[]> {
  return pool.run(byLimit);
}
