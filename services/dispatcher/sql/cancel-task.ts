import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export interface TaskPlace {
  readonly taskKey: number;
  readonly segment: number;
  readonly routeKey: number;
  readonly rank: number;
}

const waiting = prepared<{ submitter: number; attempts: number; gates: number[] }>(
  "cancel_waiting",
  `
  with gone as (
    delete from queue where route_key = $1 and rank = $2 and task_key = $3 returning submitter, attempts, lane_key, true as paid, spent
  ), rested as (
    delete from scheduled where task_key = $3 returning submitter, attempts, lane_key, paid, spent
  ), held_back as (
    delete from parked where task_key = $3 returning submitter, attempts, lane_key, paid, spent
  ), either as materialized (
    select * from gone union all select * from rested union all select * from held_back
  ), unused as (
    insert into notes (task_key, segment, lane_key, attempt, spent)
    select $3, $4, lane_key, 0, spent from either where lane_key is not null and paid and attempts = 0
  ), ended as (
    insert into outcomes (segment, task_key, state, attempt, finish_time, outcome)
    select $4, $3, 6, attempts, now(), $5 from either
  ), counted as (
    insert into counter_changes (canceled) select 1 from either
  )
  select submitter, attempts, array(
    select g::float8 from gone, release_slots(array[gone.lane_key]) as g where gone.lane_key is not null
  ) as gates
  from either`,
);

/**
 * Ends a task that waits; undefined if it does not wait any more. `gates`: of concurrency limits, that got a slot back and that
 * somebody waits for.
 */
export async function cancelWaiting(
  pool: ConnectionPool,
  place: TaskPlace,
  outcome: Uint8Array,
): Promise<{ submitter: number; attempts: number; gates: number[] } | undefined> {
  const params = [place.routeKey, place.rank, place.taskKey, place.segment, outcome];
  const [row] = await pool.run(waiting, params);
  return row;
}

const leased = prepared<{ instance_key: number }>(
  "cancel_leased",
  "update leases set cancel_reason = coalesce(cancel_reason, $2) where task_key = $1 returning instance_key",
);

/** Notes on a lease that its task is to be canceled. Returns the home that must tell the agent; undefined if there is no lease. */
export async function cancelLeased(pool: ConnectionPool, taskKey: number, reason: string): Promise<number | undefined> {
  const [row] = await pool.run(leased, [taskKey, reason]);
  return row?.instance_key;
}

const requested = prepared<{ task_key: number; session_key: number; cancel_reason: string }>(
  "cancels_requested",
  `
  select task_key::float8, session_key::float8, cancel_reason
  from leases where instance_key = $1 and cancel_reason is not null`,
);

/** The leases of an instance whose agents are to be told to stop. */
export function cancelsRequested(
  pool: ConnectionPool,
  instanceKey: number,
): Promise<{ task_key: number; session_key: number; cancel_reason: string }[]> {
  return pool.run(requested, [instanceKey]);
}
