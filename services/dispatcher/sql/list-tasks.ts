import { sql, type Kysely, type RawBuilder } from "kysely";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { isFinal } from "../core/task-state.ts";
import { taskColumns, taskJoins, type TaskRow } from "./find-tasks.ts";

export type Database = Kysely<unknown>;

export interface TaskFilter {
  readonly namespace: string;
  /** Empty: all. */
  readonly states: readonly TaskState[];
  readonly capability: string;
  readonly user: string;
  readonly submittedAfter: Date | undefined;
  readonly submittedBefore: Date | undefined;
  /** Only tasks before this one. */
  readonly before: { segment: number; taskKey: number } | undefined;
  readonly limit: number;
}

/** Tasks, newest first. */
export async function listTasks(db: Database, filter: TaskFilter): Promise<TaskRow[]> {
  const conditions = [sql`t.namespace = ${filter.namespace}`];
  if (filter.capability !== "") conditions.push(sql`t.capability = ${filter.capability}`);
  if (filter.user !== "") conditions.push(sql`t.user_name = ${filter.user}`);
  if (filter.submittedAfter) conditions.push(sql`t.submit_time >= ${filter.submittedAfter}`);
  if (filter.submittedBefore) conditions.push(sql`t.submit_time < ${filter.submittedBefore}`);
  if (filter.before) {
    const { segment, taskKey } = filter.before;
    conditions.push(sql`(t.segment, t.task_key) < (${segment}::int4, ${taskKey}::int8)`);
  }
  if (filter.states.length > 0) conditions.push(sql`(${sql.join(filter.states.map(inState), sql` or `)})`);
  const query = sql<TaskRow>`
    select ${sql.raw(taskColumns(false))}
    from tasks t ${sql.raw(taskJoins)}
    where ${sql.join(conditions, sql` and `)}
    order by t.segment desc, t.task_key desc
    limit ${filter.limit}`;
  return (await query.execute(db)).rows;
}

// Written so that each can be found from the small table that says it: what is in the queue, say, is no more than that.
function inState(state: TaskState): RawBuilder<unknown> {
  if (isFinal(state)) return sql`o.state = ${state}`;
  if (state === TaskState.LEASED) return sql`l.task_key is not null`;
  if (state === TaskState.SCHEDULED) return sql`w.task_key is not null`;
  return sql`(o.task_key is null and l.task_key is null and w.task_key is null)`;
}
