import type { Assignment } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { TaskError } from "./task-error.ts";

const restMs = 1_000;

/** Logs with their stacks what handlers threw unasked, one a second: a broken handler must not fill the log. */
export class ThrownErrors {
  readonly #log: Logger;
  #loggedMs = -Infinity;
  #untold = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  note(thrown: unknown, assignment: Assignment): void {
    try {
      this.#write(thrown, assignment);
    } catch {
      // An error that cannot be written is the handler's; the failed outcome tells of it as well as may be.
    }
  }

  #write(thrown: unknown, { capability, taskId, attempt, traceparent }: Assignment): void {
    if (thrown instanceof TaskError) {
      this.#log
        .withTrace(traceparent)
        .debug(`a task of ${capability} failed`, { task_id: taskId, attempt, err: thrown });
      return;
    }
    const nowMs = performance.now();
    if (nowMs - this.#loggedMs < restMs) {
      this.#untold++;
      return;
    }
    const more = this.#untold === 0 ? {} : { others_since_the_last: this.#untold };
    const fields = { task_id: taskId, attempt, err: thrown, ...more };
    this.#log.withTrace(traceparent).warn(`a handler of ${capability} threw`, fields);
    this.#loggedMs = nowMs;
    this.#untold = 0;
  }
}
