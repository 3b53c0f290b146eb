/** Time as everything but SQL sees it; a test hands in a `ManualClock`. */
export interface Clock {
  /** Milliseconds since the epoch. May jump when the machine's clock is set. */
  now(): number;
  /** Milliseconds since an arbitrary point. Never jumps, never goes back: for durations. */
  monotonic(): number;
  /** Calls back once after `delayMs`; disposing it cancels. Keeps the process alive: somebody awaits it. */
  setTimer(callback: () => void, delayMs: number): Disposable;
  /** Calls back every `everyMs` until disposed. Does not keep the process alive: it is housekeeping. */
  setInterval(callback: () => void, everyMs: number): Disposable;
}

// setTimeout fires at once for anything longer than this (24.8 days), so longer waits are made of several.
const maxDelayMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(callback, delayMs) {
    let timer: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      timer = leftMs > maxDelayMs ? setTimeout(arm, maxDelayMs, leftMs - maxDelayMs) : setTimeout(callback, leftMs);
    };
    arm(delayMs);
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
  setInterval(callback, everyMs) {
    const timer = setInterval(callback, everyMs).unref();
    return { [Symbol.dispose]: () => clearInterval(timer) };
  },
};
