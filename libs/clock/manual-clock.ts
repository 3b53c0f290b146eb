import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "./clock.ts";

interface Timer {
  readonly callback: () => void;
  readonly everyMs: number | undefined;
  dueMs: number;
}

/** A clock that stands still until a test advances it. */
export class ManualClock implements Clock {
  readonly #startMs: number;
  readonly #timers = new Set<Timer>();
  #elapsedMs = 0;

  /** @param startMs what `now()` says first, in milliseconds since the epoch. */
  constructor(startMs: number = Date.UTC(2030, 0, 1)) {
    this.#startMs = startMs;
  }

  now(): number {
    return this.#startMs + this.#elapsedMs;
  }

  monotonic(): number {
    return this.#elapsedMs;
  }

  /** Timers that wait; intervals count as one. */
  get pendingTimers(): number {
    return this.#timers.size;
  }

  setTimer(callback: () => void, delayMs: number): Disposable {
    return this.#arm(callback, delayMs, undefined);
  }

  setInterval(callback: () => void, everyMs: number): Disposable {
    return this.#arm(callback, everyMs, Math.max(1, everyMs));
  }

  /**
   * Moves time on by `ms`. Timers fire in the order of their due times, each seeing its own due time as `now()`; after
   * each one the event loop turns, so that what it resolved runs first and timers armed in reaction fire as well.
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError(`Time cannot be advanced by ${ms} ms.`);
    const targetMs = this.#elapsedMs + ms;
    await turn();
    for (let timer = this.#nextDue(targetMs); timer; timer = this.#nextDue(targetMs)) {
      this.#elapsedMs = Math.max(this.#elapsedMs, timer.dueMs);
      if (timer.everyMs === undefined) this.#timers.delete(timer);
      else timer.dueMs += timer.everyMs;
      timer.callback();
      await turn();
    }
    this.#elapsedMs = targetMs;
  }

  #arm(callback: () => void, delayMs: number, everyMs: number | undefined): Disposable {
    const timer: Timer = { callback, everyMs, dueMs: this.#elapsedMs + Math.max(0, delayMs) };
    this.#timers.add(timer);
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) };
  }

  #nextDue(targetMs: number): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      // `<` keeps the order of arming among timers due at the same time: a Set iterates in insertion order.
      if (timer.dueMs <= targetMs && (next === undefined || timer.dueMs < next.dueMs)) next = timer;
    }
    return next;
  }
}
