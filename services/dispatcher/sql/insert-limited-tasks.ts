import {
  boolArray,
  byteaArray,
  float8Array,
  int2Array,
  int4Array,
  int8Array,
  textArray,
} from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { afterDeadlocks } from "./deadlock.ts";
import type { InsertedTask, NewTask } from "./insert-tasks.ts";

/** What limits mean for a task on its way in. */
export interface LaneEntry {
  readonly laneKey: number;
  /** Its rates have admitted it, or it has none. */
  readonly paid: boolean;
  /** It is parked at once: its rates refused it, or it needs a slot. */
  readonly parks: boolean;
  /** It is parked if others are in its lane; else it passes them. */
  readonly queuesUp: boolean;
  /** When it is parked and first in its lane: how long until it is tried, and which gate turned it away. */
  readonly waitMs: number;
  readonly blockedBy: number | null;
  /** The leases of tokens that it was paid from, in the order of its lane's rate gates, 0 for none; null: none at all. */
  readonly spent: readonly bigint[] | null;
}

export interface InsertedLimitedTask extends InsertedTask {
  readonly isParked: boolean;
}

type MaybeLimited = NewTask & { readonly lane: LaneEntry | undefined };

/** A batch has tasks of one kind. */
export function isLimited(tasks: readonly MaybeLimited[]): tasks is readonly (NewTask & { lane: LaneEntry })[] {
  return tasks[0]?.lane !== undefined;
}

export function isParked(task: InsertedTask): boolean {
  return "isParked" in task && task.isParked === true;
}

const statement = prepared<{
  ord: number;
  task_key: number;
  segment: number;
  submit_time_ms: number;
  is_parked: boolean;
}>(
  "insert_limited_tasks",
  `
  with input as materialized (
    select nextval('task_keys') as task_key, u.*
    from unnest(
      $1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::int4[], $7::int2[], $8::int8[], $9::float8[],
      $12::int8[], $13::bool[], $14::bool[], $15::bool[], $16::float8[], $17::int8[], $18::text[]
    ) with ordinality
      as u (
        namespace, task_id, capability, user_name, spec, route_key, rank, session_key, due_time_ms,
        lane_key, paid, parks, queues_up, wait_ms, blocked_by, spent_text, ord
      )
  ), fresh as (
    insert into tasks (segment, task_key, namespace, task_id, capability, user_name, submit_time, spec)
    select (select open_segment($10)), i.task_key, i.namespace, i.task_id, i.capability, i.user_name, now(), i.spec
    from input i
    where not exists (
      select from tasks t
      where t.segment <> $10 and t.namespace = i.namespace and t.task_id = i.task_id
    )
    order by i.namespace collate "C", i.task_id collate "C"
    on conflict (namespace, task_id, segment) do nothing
    returning task_key
  ), kept as materialized (
    select i.*, spent_text::int8[] as spent, due_time_ms is null
      and (
        parks or not paid or queues_up and exists (select from heads h where h.lane_key = i.lane_key)
        -- Its rates may have admitted it from a lease of tokens, before they learned of the pause.
        or exists (
          select from lanes l join gates g on g.gate_key = any(l.rate_gates || l.slot_gates)
          where l.lane_key = i.lane_key and g.pause_until > now()
        )
      ) as is_parked
    from input i join fresh f using (task_key)
  ), headed as (
    insert into heads (lane_key, next_time, blocked_by)
    select lane_key, now() + min(wait_ms) * interval '1 ms', max(blocked_by)
    from kept where is_parked group by lane_key order by lane_key
    on conflict (lane_key) do update set next_time = heads.next_time
  ), held_back as (
    insert into parked (lane_key, rank, task_key, segment, route_key, attempts, submitter, paid, spent)
    select lane_key, rank, task_key, $10, route_key, 0, $11, paid, spent from kept where is_parked
  ), leased as (
    insert into leases (
      task_key, segment, attempt, session_key, instance_key, route_key, rank, submitter, start_time, lane_key,
      spent
    )
    select task_key, $10, 1, session_key, $11, route_key, rank, $11, now(), lane_key, spent
    from kept where session_key is not null and not is_parked
  ), waiting as (
    insert into scheduled (task_key, due_time, route_key, rank, segment, attempts, submitter, lane_key, paid, spent)
    select task_key, to_timestamp(due_time_ms / 1000), route_key, rank, $10, 0, $11, lane_key, paid, spent
    from kept where due_time_ms is not null
  ), queued as (
    insert into queue (route_key, rank, task_key, segment, attempts, submitter, lane_key, spent)
    select route_key, rank, task_key, $10, 0, $11, lane_key, spent
    from kept where session_key is null and due_time_ms is null and not is_parked
  ), counted as (
    insert into counter_changes (submitted, dispatched)
    select count(*), count(session_key) filter (where not is_parked) from kept having count(*) > 0
  )
  select ord::int4, task_key::float8, $10::int4 as segment, extract(epoch from now())::float8 * 1000 as submit_time_ms, is_parked
  from kept`,
);

/** As `insertTasks`, for tasks that limits apply to. */
export async function insertLimitedTasks(
  pool: ConnectionPool,
  tasks: readonly (NewTask & { readonly lane: LaneEntry })[],
  place: { segment: number; instanceKey: number },
): Promise<(InsertedLimitedTask | undefined)[]> {
  const params = [
    textArray(tasks.map((task) => task.namespace)),
    textArray(tasks.map((task) => task.taskId)),
    textArray(tasks.map((task) => task.capability)),
    textArray(tasks.map((task) => task.user)),
    byteaArray(tasks.map((task) => task.spec)),
    int4Array(tasks.map((task) => task.routeKey)),
    int2Array(tasks.map((task) => task.rank)),
    int8Array(tasks.map((task) => task.sessionKey)),
    float8Array(tasks.map((task) => task.dueTimeMs)),
    place.segment,
    place.instanceKey,
    int8Array(tasks.map(({ lane }) => lane.laneKey)),
    boolArray(tasks.map(({ lane }) => lane.paid)),
    boolArray(tasks.map(({ lane }) => lane.parks)),
    boolArray(tasks.map(({ lane }) => lane.queuesUp)),
    float8Array(tasks.map(({ lane }) => lane.waitMs)),
    int8Array(tasks.map(({ lane }) => lane.blockedBy)),
    textArray(tasks.map(({ lane }) => (lane.spent === null ? null : `{${lane.spent.join(",")}}`))),
  ];
  const rows = await afterDeadlocks(() => pool.run(statement, params));
  const inserted = new Array<InsertedLimitedTask | undefined>(tasks.length).fill(undefined);
  for (const row of rows) {
    inserted[row.ord - 1] = {
      taskKey: row.task_key,
      segment: row.segment,
      submitTimeMs: row.submit_time_ms,
      isParked: row.is_parked,
    };
  }
  return inserted;
}
