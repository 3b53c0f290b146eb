import type { Clock } from "./clock.ts";

/** Resolves after `delayMs`, or as soon as `signal` aborts: it never rejects, the caller's loop asks the signal. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const wake = (): void => {
      timer[Symbol.dispose]();
      signal?.removeEventListener("abort", wake);
      resolve();
    };
    const timer = clock.setTimer(wake, delayMs);
    signal?.addEventListener("abort", wake, { once: true });
  });
}
