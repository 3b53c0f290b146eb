import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { JsonObject, JsonValue } from "./json.ts";
import { taskResult } from "./task-result.ts";
import type { WaitOptions } from "./pending-task.ts";
import type { TaskStream } from "./task-stream.ts";
import type { TaskEventView, TaskStateName, TaskView } from "./task-view.ts";

/** What of LegionCore a handle uses. */
export interface TaskCalls {
  getTask(taskId: string, options: { namespace: string }): Promise<TaskView>;
  cancelTask(
    taskId: string,
    options: { namespace: string; reason: string | undefined },
  ): Promise<TaskStateName | "UNKNOWN">;
  watchTask(
    taskId: string,
    options: { namespace: string; signal: AbortSignal | undefined },
  ): AsyncGenerator<TaskEventView, void>;
}

/** An accepted task. It is stored: dropping the handle changes nothing for it. */
export class TaskHandle<Result extends JsonValue | Uint8Array = JsonObject> {
  readonly taskId: string;
  /** False if the same task had been accepted before. */
  readonly created: boolean;
  readonly #spec: TaskSpec;
  readonly #stream: TaskStream;
  readonly #calls: TaskCalls;

  constructor(spec: TaskSpec, created: boolean, stream: TaskStream, calls: TaskCalls) {
    this.taskId = spec.taskId;
    this.created = created;
    this.#spec = spec;
    this.#stream = stream;
    this.#calls = calls;
  }

  /**
   * Waits for the outcome, through restarts of the mesh, and returns what the capability returned. Can be asked again. It
   * takes one of the client's `maxOutstanding` places only while it waits.
   * @throws TaskFailedError, TaskCanceledError; WaitTimeoutError, the signal's reason: the task goes on
   */
  async result(wait: WaitOptions = {}): Promise<Result> {
    // The same task again: nothing is stored twice, and its outcome comes back.
    return taskResult<Result>(await this.#stream.run(this.#spec, wait));
  }

  /** The task as it is now. */
  status(): Promise<TaskView> {
    return this.#calls.getTask(this.taskId, { namespace: this.#spec.namespace });
  }

  /**
   * Asks for the task to be stopped; `reason` is told to its agent and kept. Returns the state: `CANCELED` if it waited,
   * `LEASED` while its agent is being told, any other final state if it had ended before.
   */
  cancel(reason?: string): Promise<TaskStateName | "UNKNOWN"> {
    return this.#calls.cancelTask(this.taskId, { namespace: this.#spec.namespace, reason });
  }

  /** What happens to the task: first its state now, last its outcome. Goes on through restarts of the mesh. */
  watch({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<TaskEventView, void> {
    return this.#calls.watchTask(this.taskId, { namespace: this.#spec.namespace, signal });
  }
}
