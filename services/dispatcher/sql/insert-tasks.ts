import { byteaArray, float8Array, int2Array, int4Array, int8Array, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

/** A task on its way in. Exactly one of: it goes to a session, it waits for a time, it waits for a session. */
export interface NewTask {
  readonly namespace: string;
  readonly taskId: string;
  readonly capability: string;
  readonly user: string;
  readonly spec: Uint8Array;
  readonly routeKey: number;
  readonly rank: number;
  /** The session that it is leased to at once. */
  readonly sessionKey: number | null;
  /** Milliseconds since the epoch. */
  readonly dueTimeMs: number | null;
}

export interface InsertedTask {
  readonly taskKey: number;
  readonly segment: number;
  /** Milliseconds since the epoch, by Postgres's clock. */
  readonly submitTimeMs: number;
}

const statement = prepared<{ ord: number; task_key: number; segment: number; submit_time_ms: number }>(
  "insert_tasks",
  `
  with input as materialized (
    select nextval('task_keys') as task_key, u.*
    from unnest(
      $1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::int4[], $7::int2[], $8::int8[], $9::float8[]
    ) with ordinality
      as u (namespace, task_id, capability, user_name, spec, route_key, rank, session_key, due_time_ms, ord)
  ), fresh as (
    insert into tasks (segment, task_key, namespace, task_id, capability, user_name, submit_time, spec)
    select (select open_segment($10)), i.task_key, i.namespace, i.task_id, i.capability, i.user_name, now(), i.spec
    from input i
    where not exists (
      select from tasks t
      -- In its own segment the constraint looks for it: looking twice costs 2.5 µs of 22.
      where t.segment <> $10 and t.namespace = i.namespace and t.task_id = i.task_id
    )
    -- All in one order, so that instances which store the same ids at the same time do not wait for each other in a circle.
    order by i.namespace collate "C", i.task_id collate "C"
    on conflict (namespace, task_id, segment) do nothing
    returning task_key
  ), kept as materialized (
    select i.* from input i join fresh f using (task_key)
  ), leased as (
    insert into leases (
      task_key, segment, attempt, session_key, instance_key, route_key, rank, submitter, start_time
    )
    select task_key, $10, 1, session_key, $11, route_key, rank, $11, now()
    from kept where session_key is not null
  ), waiting as (
    insert into scheduled (task_key, due_time, route_key, rank, segment, attempts, submitter)
    select task_key, to_timestamp(due_time_ms / 1000), route_key, rank, $10, 0, $11
    from kept where due_time_ms is not null
  ), queued as (
    insert into queue (route_key, rank, task_key, segment, attempts, submitter)
    select route_key, rank, task_key, $10, 0, $11
    from kept where session_key is null and due_time_ms is null
  ), counted as (
    insert into counter_changes (submitted, dispatched)
    select count(*), count(session_key) from kept having count(*) > 0
  )
  select ord::int4, task_key::float8, $10::int4 as segment, extract(epoch from now())::float8 * 1000 as submit_time_ms
  from kept`,
);

/**
 * Stores tasks, all with what they wait for, in one statement. Ids must differ within one call.
 * @param place.segment where they go; an id may be taken in any.
 * @throws an error that `isSegmentOver` when tasks go to another one by now; then none is stored.
 * @returns one for each task, in their order; undefined where the id is taken.
 */
export async function insertTasks(
  pool: Pick<ConnectionPool, "run">,
  tasks: readonly NewTask[],
  place: { segment: number; instanceKey: number },
): Promise<(InsertedTask | undefined)[]> {
  const rows = await pool.run(statement, [
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
  ]);
  const inserted = new Array<InsertedTask | undefined>(tasks.length).fill(undefined);
  for (const row of rows) {
    inserted[row.ord - 1] = { taskKey: row.task_key, segment: row.segment, submitTimeMs: row.submit_time_ms };
  }
  return inserted;
}
