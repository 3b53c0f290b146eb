import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

const fail = prepared<{ submitter: number; attempts: number }>(
  "fail_parked",
  `
  with gone as materialized (
    delete from parked where lane_key = $1 and rank = $2 and task_key = $3 returning submitter, attempts
  ), ended as (
    insert into outcomes (segment, task_key, state, attempt, finish_time, outcome)
    select $4, $3, 5, attempts, now(), $5 from gone
  ), counted as (
    insert into counter_changes (failed) select 1 from gone
  )
  select submitter, attempts from gone`,
);

/** Ends a parked task as failed; undefined if it is not parked any more. */
export async function failParked(
  pool: ConnectionPool,
  place: { laneKey: number; rank: number; taskKey: number; segment: number },
  outcome: Uint8Array,
): Promise<{ submitter: number; attempts: number } | undefined> {
  const [row] = await pool.run(fail, [place.laneKey, place.rank, place.taskKey, place.segment, outcome]);
  return row;
}
