import { types } from "node:util";
import { refusal } from "./errors.ts";

const mebibyte = 1024 * 1024;
/** What a mesh takes unless it is configured otherwise. */
export const defaultMaxTaskDataBytes = 2 * mebibyte;

/**
 * The bytes of `task_data`, checked before they leave: a JSON object of at most `maxBytes`.
 * @throws LegionError INVALID_ARGUMENT: TASK_DATA_NOT_OBJECT or TASK_DATA_TOO_LARGE
 */
export function encodeTaskData(taskData: unknown, maxBytes = defaultMaxTaskDataBytes): Uint8Array {
  const kind = notAnObject(taskData);
  if (kind !== undefined) throw notObject(`it is ${kind}`);
  let text: string | undefined;
  try {
    text = JSON.stringify(taskData);
  } catch (thrown) {
    throw notObject(`it cannot be written as JSON: ${firstLine(thrown)}`);
  }
  if (text === undefined || text[0] !== "{") {
    throw notObject(`as JSON it is ${text === undefined ? "nothing" : kindOfJson(text)}, not an object`);
  }
  const bytes = Buffer.from(text);
  checkTaskDataSize(bytes, maxBytes);
  return bytes;
}

/** @throws LegionError TASK_DATA_TOO_LARGE */
export function checkTaskDataSize(bytes: Uint8Array, maxBytes: number): void {
  if (bytes.length <= maxBytes) return;
  throw refusal(
    "TASK_DATA_TOO_LARGE",
    `task_data is ${inMebibytes(bytes.length)}; at most ${inMebibytes(maxBytes)} is taken.`,
  );
}

/** What a JSON text is, to follow "is": `an array`, `a string`. Looks at its first character only. */
export function kindOfJson(text: string): string {
  const first = text.trimStart()[0];
  if (first === "{") return "an object";
  if (first === "[") return "an array";
  if (first === '"') return "a string";
  if (first === "n") return "null";
  return first === "t" || first === "f" ? "a boolean" : "a number";
}

function notObject(why: string) {
  return refusal("TASK_DATA_NOT_OBJECT", `task_data must be a JSON object, but ${why}.`);
}

/** Why a value is no plain object, to follow "it is". Those that JSON would silently turn into `{}` or a list of bytes count. */
function notAnObject(value: unknown): string | undefined {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value !== "object") return typeof value === "undefined" ? "undefined" : `a ${typeof value}`;
  if (types.isMap(value) || types.isSet(value)) return `a ${value.constructor.name}; use a plain object`;
  if (types.isPromise(value)) return "a promise; await it first";
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return "bytes";
  if (types.isRegExp(value) || types.isNativeError(value)) return `a ${value.constructor.name}`;
  return undefined;
}

/** V8 explains a circle over several lines. */
function firstLine(thrown: unknown): string {
  return (thrown instanceof Error ? thrown.message : String(thrown)).split("\n", 1)[0] ?? "";
}

function inMebibytes(bytes: number): string {
  return `${(bytes / mebibyte).toFixed(bytes % mebibyte === 0 ? 0 : 2)} MiB`;
}
