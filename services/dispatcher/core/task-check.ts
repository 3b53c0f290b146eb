import { isUtf8 } from "node:buffer";
import type { Payload } from "#libs/proto/legion/common/v1/payload_pb.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";

const namespacePattern = /^(?:[a-z0-9][a-z0-9-]{0,62})?$/;
const capabilityPattern = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/;
const plainTextPattern = /^[\x20-\x7e]{0,128}$/;
const traceparentPattern = /^[0-9a-z-]{0,128}$/;

/**
 * True for a task that is plainly within the contract's rules, as almost every task is; false says nothing. Checking the
 * rules themselves costs 8 µs a task, more than everything else that is done with it here; this costs 0.2.
 */
export function isPlainlyValid(task: TaskSpec): boolean {
  return (
    namespacePattern.test(task.namespace) &&
    plainTextPattern.test(task.taskId) &&
    capabilityPattern.test(task.capability) &&
    plainTextPattern.test(task.user) &&
    task.labels.length === 0 &&
    task.requiredLabels.length === 0 &&
    task.costs.length === 0 &&
    task.priority >= -1000 &&
    task.priority <= 1000 &&
    task.runTime === undefined &&
    task.executionTimeout === undefined &&
    task.retryPolicy === undefined &&
    task.whenLimited === 0 &&
    traceparentPattern.test(task.traceparent) &&
    task.tracestate === "" &&
    (task.taskData === undefined || task.taskData.contentType.length <= 32)
  );
}

/** What is wrong with a task's data. */
export interface DataProblem {
  readonly reason: "TASK_DATA_NOT_OBJECT" | "TASK_DATA_TOO_LARGE";
  readonly message: string;
}

/** Checks that the data is a JSON object within the limit. `maxBytes` is the mesh's own limit. */
export function checkTaskData(data: Payload | undefined, maxBytes: number): DataProblem | undefined {
  if (data === undefined) return undefined;
  const { contentType, data: bytes } = data;
  if (bytes.length > maxBytes) {
    return {
      reason: "TASK_DATA_TOO_LARGE",
      message: `task_data is ${bytes.length} bytes; at most ${maxBytes} are taken (MAX_TASK_DATA_BYTES). Store large data elsewhere and send its address.`,
    };
  }
  if (contentType !== "" && contentType !== "application/json") {
    return notObject(`its content type is "${contentType}"; expected application/json`);
  }
  if (bytes.length === 0) return notObject("it is empty; an object without fields is {}");
  if (!isUtf8(bytes)) return notObject("it is not valid UTF-8");
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
  } catch (error) {
    return notObject(`it is not valid JSON (${(error as Error).message})`);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    const kind = value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`;
    return notObject(`it is ${kind}`);
  }
  return undefined;
}

function notObject(why: string): DataProblem {
  return {
    reason: "TASK_DATA_NOT_OBJECT",
    message: `task_data must be a JSON object, such as {"name":"Ada"}: ${why}.`,
  };
}
