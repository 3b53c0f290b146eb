import type { Payload } from "#libs/proto/legion/common/v1/payload_pb.ts";
import { TaskError } from "./task-error.ts";

/** A task's input: a JSON object. */
export type TaskData = Record<string, unknown>;

/** @throws TaskError TASK_DATA_INVALID when it is not a JSON object: the mesh lets none such through. */
export function readTaskData(payload: Payload | undefined): TaskData {
  if (payload === undefined || payload.data.length === 0) return {};
  const { data } = payload;
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("utf8"));
  } catch (cause) {
    throw new TaskError("The task's data is not JSON.", { code: "TASK_DATA_INVALID", retryable: false, cause });
  }
  if (isObject(value)) return value;
  throw new TaskError("The task's data is not a JSON object.", { code: "TASK_DATA_INVALID", retryable: false });
}

function isObject(value: unknown): value is TaskData {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * What a handler returned, as JSON; `undefined` becomes `null`.
 * @throws TaskError RESULT_NOT_SERIALIZABLE, RESULT_TOO_LARGE; another attempt would not help.
 */
export function writeResult(result: unknown, maxBytes: number): Uint8Array {
  let json: string | undefined;
  try {
    json = JSON.stringify(result === undefined ? null : result);
  } catch (cause) {
    const message = `The result cannot be written as JSON: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new TaskError(message, { code: "RESULT_NOT_SERIALIZABLE", retryable: false, cause });
  }
  if (json === undefined) {
    const message = `The result cannot be written as JSON: it is a ${typeof result}.`;
    throw new TaskError(message, { code: "RESULT_NOT_SERIALIZABLE", retryable: false });
  }
  const bytes = Buffer.from(json);
  if (bytes.length > maxBytes) {
    const message =
      `The result has ${bytes.length} bytes, and the mesh takes ${maxBytes}: ` +
      "store it elsewhere and return a reference to it.";
    throw new TaskError(message, { code: "RESULT_TOO_LARGE", retryable: false });
  }
  return bytes;
}
