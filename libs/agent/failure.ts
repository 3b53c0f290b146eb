import { inspect } from "node:util";
import type { Failure } from "./messages.ts";
import { TaskError } from "./task-error.ts";

/**
 * What a handler threw, as the failure that the mesh records. Anything but a TaskError is retryable, for nobody said that
 * it is not; its code is the error's name.
 */
export function failureOf(thrown: unknown, maxDetailsBytes: number): Failure {
  try {
    return describe(thrown, maxDetailsBytes);
  } catch {
    // A message that is a getter, an inspection that throws: a handler may throw anything at all.
    return { code: "ERROR", message: "The handler threw something that cannot be described.", retryable: true };
  }
}

function describe(thrown: unknown, maxDetailsBytes: number): Failure {
  if (thrown instanceof TaskError) {
    const { code, message, retryable, retryDelayMs, details, callerFault } = thrown;
    const usableDelay = retryDelayMs === undefined || Number.isNaN(retryDelayMs) ? undefined : retryDelayMs;
    const written = writeDetails(details, maxDetailsBytes);
    return { code, message, retryable, retryDelayMs: usableDelay, details: written, callerFault };
  }
  if (thrown instanceof Error) return { code: nameOf(thrown), message: thrown.message, retryable: true };
  return { code: "ERROR", message: typeof thrown === "string" ? thrown : inspect(thrown), retryable: true };
}

/** A class of errors that sets no `name` of its own still has one. */
function nameOf(error: Error): string {
  if (typeof error.name === "string" && error.name !== "Error" && error.name !== "") return error.name;
  const className: unknown = error.constructor?.name;
  return typeof className === "string" && className !== "" ? className : "Error";
}

/** Details that cannot be sent are left out: the failure itself matters more. */
function writeDetails(details: unknown, maxBytes: number): Uint8Array | undefined {
  if (details === undefined) return undefined;
  try {
    const json: string | undefined = JSON.stringify(details);
    const bytes = json === undefined ? undefined : Buffer.from(json);
    return bytes !== undefined && bytes.length <= maxBytes ? bytes : undefined;
  } catch {
    return undefined;
  }
}
