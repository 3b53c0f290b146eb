import { int8Array } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export interface ClaimedTask {
  readonly taskKey: number;
  readonly segment: number;
  readonly attempt: number;
  readonly rank: number;
  readonly submitter: number;
  readonly sessionKey: number;
  readonly submitTimeMs: number;
  readonly spec: Buffer;
}

interface Row {
  task_key: number;
  segment: number;
  attempt: number;
  rank: number;
  submitter: number;
  session_key: number;
  submit_time: Date;
  spec: Buffer;
}

const statement = prepared<Row>(
  "claim_tasks",
  `
  with slots as materialized (
    select session_key, ord from unnest($2::int8[]) with ordinality as u (session_key, ord)
  ), picked as materialized (
    select ctid as place, * from queue
    where route_key = $1 and (rank, task_key) >= ($3::int2, $4::int8)
    order by rank, task_key
    limit $5
    for update skip locked
  ), gone as (
    -- They are locked, so they stay where they are.
    delete from queue where ctid = any (array(select place from picked))
  ), paired as materialized (
    select n.*, s.session_key
    from (select *, row_number() over (order by rank, task_key) as ord from picked) n join slots s using (ord)
  ), leased as (
    insert into leases (
      task_key, segment, attempt, session_key, instance_key, route_key, rank, submitter, start_time, lane_key,
      spent
    )
    select task_key, segment, attempts + 1, session_key, $6, route_key, rank, submitter, now(), lane_key, spent
    from paired
  ), counted as (
    insert into counter_changes (dispatched) select count(*) from paired having count(*) > 0
  )
  select p.task_key::float8, p.segment, p.attempts + 1 as attempt, p.rank, p.submitter, p.session_key::float8,
    t.submit_time, t.spec
  from paired p
  -- One by one: a join may be planned as a look at all tasks of the day.
  cross join lateral (
    select submit_time, spec from tasks x where x.segment = p.segment and x.task_key = p.task_key offset 0
  ) t
  order by p.ord`,
);

/**
 * Leases the first waiting tasks of a route, one to each of the sessions named (a session once for every slot).
 * @param from where in the queue's order to begin: what lies before is known to be gone.
 */
export async function claimTasks(
  pool: ConnectionPool,
  claim: {
    routeKey: number;
    sessionKeys: readonly number[];
    from: { rank: number; taskKey: number };
    instanceKey: number;
  },
): Promise<ClaimedTask[]> {
  const rows = await pool.run(statement, [
    claim.routeKey,
    int8Array(claim.sessionKeys),
    claim.from.rank,
    claim.from.taskKey,
    claim.sessionKeys.length,
    claim.instanceKey,
  ]);
  return rows.map((row) => ({
    taskKey: row.task_key,
    segment: row.segment,
    attempt: row.attempt,
    rank: row.rank,
    submitter: row.submitter,
    sessionKey: row.session_key,
    submitTimeMs: row.submit_time.getTime(),
    spec: row.spec,
  }));
}
