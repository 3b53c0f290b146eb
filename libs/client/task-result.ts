import type { StreamOutcome } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { LegionError, TaskCanceledError, TaskFailedError } from "./errors.ts";
import type { JsonValue } from "./json.ts";
import { readPayload } from "./payload.ts";
import { failureView } from "./task-view.ts";

/**
 * What a finished task returned: JSON parsed, anything else as bytes; null if it was nothing.
 * @throws TaskFailedError, TaskCanceledError
 */
// eslint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller says what it expects
export function taskResult<Result extends JsonValue | Uint8Array>(finished: StreamOutcome): Result {
  const { taskId, state, attempt, outcome } = finished;
  switch (outcome?.kind.case) {
    case "completed":
      // What a capability returns is an agreement between its agent and its caller.
      // eslint-disable-next-line typescript/no-unsafe-type-assertion
      return (readPayload(outcome.kind.value.result) ?? null) as Result;
    case "failed":
      throw new TaskFailedError(
        taskId,
        state === TaskState.DEAD ? "DEAD" : "FAILED",
        attempt,
        failureView(outcome.kind.value),
      );
    case "canceled":
      throw new TaskCanceledError(taskId, outcome.kind.value.reason);
    case undefined:
    default:
      throw new LegionError(`The outcome of task ${taskId} is of a kind this client does not know; update it.`, {
        code: "UNIMPLEMENTED",
        taskId,
      });
  }
}
