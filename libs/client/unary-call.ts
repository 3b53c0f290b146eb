import { backoffDelayMs } from "#libs/clock/backoff.ts";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import type { DispatcherClient, Endpoints } from "./endpoints.ts";
import { connectionError, isTransient } from "./errors.ts";
import type { LegionError } from "./errors.ts";

export interface CallSettings {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

export interface CallPatience {
  /** Since the first try. */
  readonly retryForMs: number;
  /** Of one try. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Told of each failure after which it is tried again. */
  readonly onTrouble?: (error: LegionError) => void;
}

const never = new AbortController().signal;
const backoff = { initialMs: 100, maxMs: 2_000 };

/**
 * Calls the Dispatcher; where nobody answers, again, until `retryForMs` have passed. For calls that may be repeated.
 * @throws LegionError
 */
export async function callDispatcher<T>(
  endpoints: Endpoints,
  { retryForMs, timeoutMs, signal, onTrouble }: CallPatience,
  call: (client: DispatcherClient, settings: CallSettings) => Promise<T>,
): Promise<T> {
  const stop = signal ?? never;
  const giveUpMs = systemClock.monotonic() + retryForMs;
  for (let failures = 0; ;) {
    const { channel, client } = endpoints;
    try {
      return await call(client, { signal: stop, timeoutMs });
    } catch (thrown) {
      const error = connectionError(thrown, channel.target);
      const again = isTransient(error) || error.code === "DEADLINE_EXCEEDED";
      if (again) endpoints.failed(channel);
      const delayMs = Math.max(error.retryDelayMs ?? 0, backoffDelayMs(++failures, backoff));
      const late = systemClock.monotonic() + delayMs > giveUpMs;
      if (!again || late || stop.aborted) throw error;
      onTrouble?.(error);
      await sleep(systemClock, delayMs, stop);
    }
  }
}
