import { setImmediate as yieldToOthers, setTimeout as pause } from "node:timers/promises";
import { type TaskContext, TaskError } from "#libs/agent/index.ts";

export const echo = (data: unknown): unknown => data;

export async function sleep({ ms, steps }: { ms: number; steps?: number }, { signal, progress }: TaskContext) {
  const parts = steps ?? 1;
  for (let step = 1; step <= parts; step++) {
    // Rejects at once when the attempt is to stop.
    await pause(ms / parts, undefined, { signal });
    if (steps !== undefined) progress(step / steps, `step ${step} of ${steps}`);
  }
  return { slept: ms };
}

export function fail({ message, retryable, code = "Failed" }: { message: string; retryable: boolean; code?: string }) {
  throw new TaskError(message, { code, retryable });
}

export function crash({ message }: { message: string }) {
  throw new RangeError(message);
}

/** CPU work gives the event loop a turn every 20 ms, or heartbeats would stop; longer than seconds, it belongs in a worker. */
export async function burn({ ms }: { ms: number }, { signal }: TaskContext) {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs) {
    const sliceEndMs = Math.min(performance.now() + 20, endMs);
    while (performance.now() < sliceEndMs);
    await yieldToOthers(undefined, { signal });
  }
  return { burned: ms };
}

export const fill = ({ bytes }: { bytes: number }) => ({ fill: "x".repeat(bytes) });
