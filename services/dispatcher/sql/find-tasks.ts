import { int4Array, int8Array, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { prepared } from "#libs/db/statement.ts";

/** A task with whatever says where it is in its life. Without outcome, lease and due time it is in the queue. */
export interface TaskRow {
  readonly task_key: number;
  readonly segment: number;
  readonly namespace: string;
  readonly task_id: string;
  readonly submit_time: Date;
  readonly spec: Buffer;
  readonly state: TaskState | null;
  readonly attempt: number | null;
  readonly start_time: Date | null;
  readonly finish_time: Date | null;
  readonly outcome: Buffer | null;
  readonly agent_id: string | null;
  readonly session_id: string | null;
  readonly lease_attempt: number | null;
  readonly lease_start_time: Date | null;
  readonly cancel_reason: string | null;
  readonly due_time: Date | null;
  readonly scheduled_attempts: number | null;
  readonly scheduled_failure: Buffer | null;
}

/** The columns of a `TaskRow`, for a query from `tasks t` with the joins below. */
export const taskColumns = (withPayload: boolean): string => `
  t.task_key::float8, t.segment, t.namespace, t.task_id, t.submit_time, t.spec,
  o.state, o.attempt, o.start_time, o.finish_time, ${withPayload ? "o.outcome" : "case when o.state <> 4 then o.outcome end as outcome"},
  s.agent_id, s.session_id,
  l.attempt as lease_attempt, l.start_time as lease_start_time, l.cancel_reason,
  w.due_time, w.attempts as scheduled_attempts, w.last_failure as scheduled_failure`;

export const taskJoins = `
  left join outcomes o on o.segment = t.segment and o.task_key = t.task_key
  left join leases l on l.task_key = t.task_key
  left join scheduled w on w.task_key = t.task_key
  left join sessions s on s.session_key = coalesce(o.session_key, l.session_key)`;

const find = prepared<TaskRow>(
  "find_tasks",
  `
  select ${taskColumns(true)}
  from unnest($1::text[], $2::text[]) as u (namespace, task_id)
  join tasks t on t.namespace = u.namespace and t.task_id = u.task_id
  ${taskJoins}`,
);

/** Tasks by namespace and id, as one snapshot. Those that are not kept are left out. */
export function findTasks(
  pool: ConnectionPool,
  ids: readonly { namespace: string; taskId: string }[],
): Promise<TaskRow[]> {
  return pool.run(find, [textArray(ids.map((id) => id.namespace)), textArray(ids.map((id) => id.taskId))]);
}

const queued = prepared<{ attempts: number; last_failure: Buffer | null; ahead: number }>(
  "find_queued",
  `
  select attempts, last_failure, (
    select count(*) from (
      select from queue a
      where a.route_key = $1 and (a.rank, a.task_key) < ($2::int2, $3::int8) limit 10001
    ) x
  )::int4 as ahead
  from queue where route_key = $1 and rank = $2 and task_key = $3`,
);

/** A waiting task's place in the queue; `ahead` counts to 10,001 at most. Undefined if it is not in the queue. */
export async function findQueued(
  pool: ConnectionPool,
  place: { routeKey: number; rank: number; taskKey: number },
): Promise<{ attempts: number; lastFailure: Buffer | null; ahead: number } | undefined> {
  const [row] = await pool.run(queued, [place.routeKey, place.rank, place.taskKey]);
  return row && { attempts: row.attempts, lastFailure: row.last_failure, ahead: row.ahead };
}

export interface OutcomeRow {
  readonly task_key: number;
  readonly state: TaskState;
  readonly attempt: number;
  readonly session_key: number | null;
  readonly outcome: Buffer;
}

const outcomes = prepared<OutcomeRow>(
  "find_outcomes",
  `
  select o.task_key::float8, o.state, o.attempt, o.session_key::float8, o.outcome
  from unnest($1::int4[], $2::int8[]) as u (segment, task_key)
  join outcomes o on o.segment = u.segment and o.task_key = u.task_key`,
);

/** The outcomes of those tasks that have one. */
export function findOutcomes(
  pool: ConnectionPool,
  tasks: readonly { segment: number; taskKey: number }[],
): Promise<OutcomeRow[]> {
  return pool.run(outcomes, [
    int4Array(tasks.map((task) => task.segment)),
    int8Array(tasks.map((task) => task.taskKey)),
  ]);
}
