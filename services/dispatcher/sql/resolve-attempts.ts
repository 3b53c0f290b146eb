import { byteaArray, float8Array, int2Array, int4Array, int8Array, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

/** What becomes of a leased attempt: it ends the task, or the task waits again. */
export interface Resolution {
  readonly taskKey: number;
  readonly attempt: number;
  readonly sessionKey: number;
  /** A final TaskState, or 0: the task waits again. */
  readonly state: number;
  /** An encoded Outcome, for a final state. */
  readonly outcome: Uint8Array | null;
  /** For a task that waits again: the attempts used up so far, why the last one failed, and how long it rests first. */
  readonly attempts: number;
  readonly lastFailure: Uint8Array | null;
  readonly delayMs: number;
  /** What the arbiter of limits is to be told, if the task is under a limit. */
  readonly note?: AttemptNote | undefined;
}

export interface AttemptNote {
  /** An encoded ExecutionStats with what the attempt cost. */
  readonly costs: Uint8Array | null;
  /** How long the limit named, empty: every limit of the task, is to admit nothing; 0: it goes on. */
  readonly pauseMs: number;
  readonly pauseLimit: string;
}

/** When an attempt that was ended began and ended: milliseconds since the epoch, by Postgres's clock. */
export interface AttemptTimes {
  readonly startTimeMs: number;
  readonly finishTimeMs: number;
}

/** False: the lease was not there. If the attempt did not succeed and its task is to be canceled, why: then it is left. */
export type Resolved = AttemptTimes | false | { readonly cancelReason: string };

interface Row {
  ord: number;
  start_time_ms: number;
  finish_time_ms: number;
  cancel_reason: string | null;
  /** A gate that somebody waits for and that a slot was given back to; ord is 0 then. */
  gate_key: number | null;
}

const text = (noted: boolean): string => `
  with input as materialized (
    select * from unnest(
      $1::int8[], $2::int4[], $3::int8[], $4::int2[], $5::bytea[], $6::int4[], $7::bytea[], $8::float8[]
    ) with ordinality
      as u (task_key, attempt, session_key, state, outcome, attempts, last_failure, delay_ms, ord)
  ), held as (
    -- The fence: no row, no right to say how it came out.
    delete from leases l using input i
    where l.task_key = i.task_key and l.attempt = i.attempt and l.session_key = i.session_key
      -- A request to cancel may have come since this was decided: COMPLETED and CANCELED are all that can follow it.
      and (l.cancel_reason is null or i.state in (4, 6))
    returning i.task_key, l.segment, i.attempt, i.session_key, i.state, i.outcome, i.attempts, i.last_failure, i.delay_ms,
      i.ord, l.route_key, l.rank, l.submitter, l.start_time, l.lane_key, l.spent
  ), ended as (
    insert into outcomes (segment, task_key, state, attempt, session_key, start_time, finish_time, outcome)
    select segment, task_key, state, attempt, session_key, start_time, now(), outcome from held where state > 0
  ), queued as (
    insert into queue (route_key, rank, task_key, segment, attempts, submitter, last_failure, lane_key, spent)
    select route_key, rank, task_key, segment, attempts, submitter, last_failure, lane_key, spent
    from held where state = 0 and delay_ms <= 0
  ), waiting as (
    insert into scheduled (task_key, due_time, route_key, rank, segment, attempts, submitter, last_failure, lane_key, spent)
    select task_key, now() + delay_ms * interval '1 ms', route_key, rank, segment, attempts, submitter, last_failure, lane_key,
      spent
    from held where state = 0 and delay_ms > 0
  ), counted as (
    insert into counter_changes (completed, failed, canceled, dead)
    select count(*) filter (where state = 4), count(*) filter (where state in (5, 7)), count(*) filter (where state = 6),
      count(*) filter (where state = 7)
    from held having count(*) filter (where state > 0) > 0
  ), freed as materialized (
    -- What goes straight back to the queue keeps its slots.
    select array_agg(lane_key) as lanes from held
    where lane_key is not null and (state > 0 or delay_ms > 0) having count(*) > 0
  )${noted ? insertNotes : ""}
  select ord::int4, extract(epoch from start_time)::float8 * 1000 as start_time_ms,
    extract(epoch from now())::float8 * 1000 as finish_time_ms, null as cancel_reason, null::float8 as gate_key
  from held
  union all
  select i.ord::int4, 0, 0, l.cancel_reason, null
  from input i join leases l on l.task_key = i.task_key and l.attempt = i.attempt and l.session_key = i.session_key
  where i.state not in (4, 6) and l.cancel_reason is not null
  union all
  select 0, 0, 0, null, g::float8 from freed, release_slots(freed.lanes) as g`;

const insertNotes = `, noted as (
    insert into notes (task_key, segment, lane_key, attempt, costs, spent, pause_until, pause_limit)
    select h.task_key, h.segment, h.lane_key, h.attempt, n.costs, h.spent,
      case when n.pause_ms > 0 then now() + n.pause_ms * interval '1 ms' end, n.pause_limit
    from held h join unnest($9::bytea[], $10::float8[], $11::text[]) with ordinality as n (costs, pause_ms, pause_limit, ord) using (ord)
    where h.lane_key is not null and n.pause_limit is not null
  )`;

const statement = prepared<Row>("resolve_attempts", text(false));
const withNotes = prepared<Row>("resolve_attempts_noted", text(true));

/**
 * Ends leases, each under its fence, and stores what comes after them, in one statement. Safe to repeat.
 * @param onSlotsFreed told of the gates of concurrency limits that got slots back and that somebody waits for.
 * @returns one for each. False means that the lease was lost, or resolved before.
 */
export async function resolveAttempts(
  pool: ConnectionPool,
  resolutions: readonly Resolution[],
  onSlotsFreed: (gateKeys: number[]) => void = () => {},
): Promise<Resolved[]> {
  const isNoted = resolutions.some(({ note }) => note !== undefined);
  const notes = isNoted
    ? [
        byteaArray(resolutions.map(({ note }) => note?.costs)),
        float8Array(resolutions.map(({ note }) => note?.pauseMs)),
        textArray(resolutions.map(({ note }) => note?.pauseLimit)),
      ]
    : [];
  const rows = await pool.run(isNoted ? withNotes : statement, [
    int8Array(resolutions.map((resolution) => resolution.taskKey)),
    int4Array(resolutions.map((resolution) => resolution.attempt)),
    int8Array(resolutions.map((resolution) => resolution.sessionKey)),
    int2Array(resolutions.map((resolution) => resolution.state)),
    byteaArray(resolutions.map((resolution) => resolution.outcome)),
    int4Array(resolutions.map((resolution) => resolution.attempts)),
    byteaArray(resolutions.map((resolution) => resolution.lastFailure)),
    float8Array(resolutions.map((resolution) => resolution.delayMs)),
    ...notes,
  ]);
  const resolved = new Array<Resolved>(resolutions.length).fill(false);
  const freed: number[] = [];
  for (const row of rows) {
    const { start_time_ms: startTimeMs, finish_time_ms: finishTimeMs, cancel_reason: cancelReason } = row;
    if (row.gate_key !== null) freed.push(row.gate_key);
    else resolved[row.ord - 1] = cancelReason === null ? { startTimeMs, finishTimeMs } : { cancelReason };
  }
  if (freed.length > 0) onSlotsFreed(freed);
  return resolved;
}
