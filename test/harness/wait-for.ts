import { setTimeout as pause } from "node:timers/promises";

export interface WaitOptions {
  /** Then it fails. Default 10,000: far more than anything should take, for machines are slow at times. */
  readonly timeoutMs?: number;
  /** What is waited for, to follow "waited for". */
  readonly describe: string | (() => string);
}

/**
 * Asks until the answer is neither undefined, null nor false, and returns it. For conditions in another process, which
 * nobody can await; within this one, await the thing itself. An error of `condition` counts as "not yet".
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 10_000, describe }: WaitOptions,
): Promise<Exclude<T, undefined | null | false>> {
  const deadlineMs = performance.now() + timeoutMs;
  for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 1.5, 100)) {
    let trouble: unknown;
    try {
      const answer = await condition();
      if (answer !== undefined && answer !== null && answer !== false) {
        return answer as Exclude<T, undefined | null | false>;
      }
    } catch (error) {
      trouble = error;
    }
    if (performance.now() > deadlineMs) {
      const what = typeof describe === "string" ? describe : describe();
      throw new Error(`Waited for ${what} in vain, for ${timeoutMs} ms.`, { cause: trouble });
    }
    await pause(pauseMs);
  }
}
