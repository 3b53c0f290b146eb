import { Batcher } from "#libs/db/batcher.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { TaskState, type Task } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { Matcher } from "../core/matcher.ts";
import { findParked } from "../sql/find-parked.ts";
import { findQueued, findTasks, type TaskRow } from "../sql/find-tasks.ts";
import { decodeSpec } from "./lease-book.ts";
import type { RouteTable } from "./route-table.ts";
import { taskName, type HomeSession } from "./session.ts";
import { stateOf, toTask } from "./task-view.ts";
import { parkedReason, queuedReason } from "./waiting-reason.ts";

interface TaskId {
  readonly namespace: string;
  readonly taskId: string;
}

/** Looks tasks up. */
export class TaskReader {
  readonly #pool: ConnectionPool;
  readonly #routes: RouteTable;
  readonly #matcher: Matcher<HomeSession>;
  /** Who waits for many tasks one by one asks for each of them when it ends; one statement answers what came together. */
  readonly #batcher: Batcher<TaskId, TaskRow | undefined>;

  constructor(parts: { pool: ConnectionPool; routes: RouteTable; matcher: Matcher<HomeSession> }) {
    this.#pool = parts.pool;
    this.#routes = parts.routes;
    this.#matcher = parts.matcher;
    this.#batcher = new Batcher({ maxItems: 200, concurrency: 2, run: (ids) => this.#findAll(ids) });
  }

  /** @throws ConnectError TASK_NOT_FOUND */
  async find(namespace: string, taskId: string): Promise<TaskRow> {
    const row = await this.#batcher.add({ namespace: namespace || "default", taskId });
    if (row === undefined) {
      throw legionError(
        "TASK_NOT_FOUND",
        `There is no task '${taskId}' in the namespace '${namespace || "default"}'. It was never accepted, or it is past its retention.`,
      );
    }
    return row;
  }

  async get(namespace: string, taskId: string): Promise<Task> {
    const row = await this.find(namespace, taskId);
    return this.describe(row, { payloads: true });
  }

  /** A stored task as clients see it, with the reason why it waits. */
  async describe(row: TaskRow, options: { payloads: boolean }): Promise<Task> {
    const state = stateOf(row);
    if (state === TaskState.SCHEDULED) {
      const task = toTask(row, options);
      task.waitingReason = task.lastFailure
        ? `attempt ${task.attempt} failed (${task.lastFailure.code}: ${task.lastFailure.message}); it is tried again when its rest is over`
        : "its run time has not come yet";
      return task;
    }
    if (state !== TaskState.QUEUED) return toTask(row, options);
    const spec = decodeSpec(row.spec);
    const route = await this.#routes.of(spec);
    const queued = await findQueued(this.#pool, {
      routeKey: route.routeKey,
      rank: -spec.priority,
      taskKey: row.task_key,
    });
    const parked = queued === undefined ? await findParked(this.#pool, row.task_key) : undefined;
    if (parked !== undefined) {
      const place = { attempts: parked.attempts, lastFailure: parked.last_failure };
      const task = toTask(row, { ...options, queued: place });
      task.waitingReason = parkedReason(this.#matcher, spec, parked);
      return task;
    }
    const task = toTask(row, { ...options, queued });
    task.waitingReason = queuedReason(this.#matcher, spec, queued?.ahead);
    return task;
  }

  async #findAll(ids: TaskId[]): Promise<(TaskRow | undefined)[]> {
    const rows = await findTasks(this.#pool, ids);
    const byName = new Map(rows.map((row) => [taskName(row.namespace, row.task_id), row]));
    return ids.map(({ namespace, taskId }) => byName.get(taskName(namespace, taskId)));
  }
}
