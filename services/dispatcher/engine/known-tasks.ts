import { Batcher } from "#libs/db/batcher.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { findTasks } from "../sql/find-tasks.ts";
import { taskName } from "./session.ts";

interface TaskId {
  readonly namespace: string;
  readonly taskId: string;
}

/** Says of tasks whether they have been accepted before, many in a statement. */
export class KnownTasks {
  readonly #batcher: Batcher<TaskId, boolean>;

  constructor(pool: ConnectionPool) {
    this.#batcher = new Batcher({
      run: async (ids) => {
        const names = new Set((await findTasks(pool, ids)).map((row) => taskName(row.namespace, row.task_id)));
        return ids.map(({ namespace, taskId }) => names.has(taskName(namespace, taskId)));
      },
    });
  }

  has(id: TaskId): Promise<boolean> {
    return this.#batcher.add(id);
  }
}
