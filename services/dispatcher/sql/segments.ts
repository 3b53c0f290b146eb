import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Session } from "#libs/db/session.ts";
import { prepared } from "#libs/db/statement.ts";

/** Partitions of `tasks` and `outcomes`: one a day of submission. */
export interface Segments {
  /** Where new tasks go. */
  readonly current: number;
  /** Today's, by Postgres's clock. */
  readonly today: number;
  /** All that there are, oldest first. */
  readonly all: readonly number[];
}

const read = prepared<{ current: number; today: number; all: number[] }>(
  "read_segments",
  `
  select (select segment from submission_segment) as current, floor(extract(epoch from now()) / 86400)::int4 as today, coalesce(
    (select array_agg(s order by s) from (
      select substring(c.relname from '^tasks_(\\d+)$')::int4 as s
      from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'tasks'::regclass
    ) x), '{}'::int4[]) as all`,
);

export async function readSegments(from: Pick<ConnectionPool | Session, "run">): Promise<Segments> {
  const [row] = await from.run(read);
  return row!;
}

/** Whether a statement failed because new tasks do not go to its segment any more. */
export function isSegmentOver(error: unknown): boolean {
  return Reflect.get(Object(error), "code") === "LS001";
}

// One process at a time makes and drops segments; the number is Legion's own.
const segmentLock = 7_402_001;

/** Makes today's and tomorrow's segment where they are missing, and has new tasks go to today's. */
export async function makeSegments(pool: ConnectionPool): Promise<void> {
  await pool.transaction(async (session) => {
    await session.execute(`select pg_advisory_xact_lock(${segmentLock})`);
    const { today, all } = await readSegments(session);
    for (const segment of [today, today + 1]) {
      if (all.includes(segment)) continue;
      for (const table of ["tasks", "outcomes"]) {
        // Attaching locks nobody out; creating it as a partition would wait for every open transaction.
        await session.execute(`
          create table if not exists ${table}_${segment} (like ${table} including all);
          alter table ${table} attach partition ${table}_${segment} for values in (${segment})`);
      }
    }
    await session.execute(`select advance_segment(${today})`);
  });
}

/**
 * Drops a segment. What of it is not finished, or was finished less than `retentionMs` ago, is moved to another one first.
 * Gives up after 200 ms if somebody reads the table, since submits wait meanwhile; try again later.
 */
export async function dropSegment(
  pool: ConnectionPool,
  segment: number,
  options: { moveTo: number; retentionMs: number },
): Promise<void> {
  const { moveTo, retentionMs } = options;
  await pool.transaction(async (session) => {
    await session.execute(`
      set local lock_timeout = '200ms';
      select pg_advisory_xact_lock(${segmentLock});
      create temporary table kept on commit drop as
        select task_key from queue where segment = ${segment}
        union select task_key from leases where segment = ${segment}
        union select task_key from scheduled where segment = ${segment}
        union select task_key from parked where segment = ${segment}
        union select task_key from notes where segment = ${segment}
        union select task_key from outcomes_${segment} where finish_time > now() - ${retentionMs} * interval '1 ms';
      lock table tasks, outcomes in access exclusive mode;
      -- Tasks go from here to the queue and back without touching those.
      lock table parked in exclusive mode;
      insert into tasks
        select ${moveTo}, task_key, namespace, task_id, capability, user_name, submit_time, spec
        from tasks_${segment} where task_key in (select task_key from kept);
      insert into outcomes
        select ${moveTo}, task_key, state, attempt, session_key, start_time, finish_time, outcome
        from outcomes_${segment} where task_key in (select task_key from kept);
      -- First what is scheduled: it is put into the queue by a statement that needs none of the locked tables.
      update scheduled set segment = ${moveTo} where segment = ${segment};
      update parked set segment = ${moveTo} where segment = ${segment};
      update notes set segment = ${moveTo} where segment = ${segment};
      update queue set segment = ${moveTo} where segment = ${segment};
      update leases set segment = ${moveTo} where segment = ${segment};
      drop table tasks_${segment}, outcomes_${segment}`);
  });
}

const forget = prepared(
  "forget_sessions",
  `
  delete from sessions s
  where attach_time < now() - $1 * interval '1 ms'
    and not exists (select from leases l where l.session_key = s.session_key)
    and s.session_key not in (select max(session_key) from sessions group by namespace, agent_id)`,
);

/** Forgets sessions that began so long ago that no outcome of theirs is kept; each agent's last one stays. */
export async function forgetSessions(pool: ConnectionPool, olderThanMs: number): Promise<void> {
  await pool.run(forget, [olderThanMs]);
}
