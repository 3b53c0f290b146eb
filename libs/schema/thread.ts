import { parentPort, workerData } from "node:worker_threads";
import { compileCheck, type Violation } from "./compile.ts";
import { inspectSchema } from "./inspect-schema.ts";
import { SchemaError } from "./schema-error.ts";
import type { Question, Reply, Request } from "./thread-messages.ts";

/** The question in hand, for whoever watches the time from outside; 0: none. */
const progress = new Int32Array((workerData as { progress: SharedArrayBuffer }).progress);
type SchemaCheck = ReturnType<typeof compileCheck>;
/** Refused ones too: further questions come without the text. */
const checks = new Map<number, SchemaCheck | SchemaError>();
const decoder = new TextDecoder("utf-8", { fatal: true });

parentPort?.on("message", ({ questions, forget }: Request) => {
  for (const schema of forget) checks.delete(schema);
  const replies: Reply[] = [];
  for (const question of questions) {
    Atomics.store(progress, 0, question.id);
    replies.push(run(question));
    Atomics.store(progress, 0, 0);
  }
  // eslint-disable-next-line unicorn/require-post-message-target-origin -- that is a window's; this is a MessagePort
  parentPort?.postMessage(replies);
});

function run({ id, schema, text, data }: Question): Reply {
  let check = checks.get(schema);
  if (check === undefined) {
    check = compile(text ?? "");
    checks.set(schema, check);
  }
  if (check instanceof SchemaError) {
    return { id, violations: [], refusal: { reason: check.reason, message: check.message } };
  }
  return { id, violations: data === undefined ? [] : checkData(check, data), refusal: undefined };
}

function compile(text: string): SchemaCheck | SchemaError {
  try {
    const check = compileCheck(inspectSchema(text));
    // A schema that takes for ever does so with the simplest data as well, most of the time.
    check({}, 2);
    return check;
  } catch (error) {
    if (error instanceof SchemaError) return error;
    const message = error instanceof Error ? error.message.replace(/^schema is invalid: /, "") : String(error);
    return new SchemaError("SCHEMA_INVALID", `is not valid: ${message.slice(0, 500)}`);
  }
}

function checkData(check: SchemaCheck, bytes: Uint8Array): Violation[] {
  let data: unknown;
  try {
    data = JSON.parse(decoder.decode(bytes));
  } catch {
    return [{ path: "", message: "must be JSON" }];
  }
  try {
    return check(data, bytes.length);
  } catch (error) {
    if (error instanceof RangeError) return [{ path: "", message: "is nested too deeply to be checked" }];
    throw error;
  }
}
