import { systemClock } from "#libs/clock/clock.ts";
import { checkPeriod, checkWhole, type Limiter, microseconds, type MonotonicClock } from "./limiter.ts";

export interface SlidingWindowOptions {
  /** How many in any period. A whole number of at least 1. */
  readonly calls: number;
  /** The window's length in milliseconds, to the microsecond. */
  readonly periodMs: number;
  /** Default: the system's. */
  readonly clock?: MonotonicClock;
}

/** A limiter holds at most this many entries, 16 bytes each. */
const mostEntries = 4_096;

/**
 * At most `calls` in every window of `periodMs`, wherever it begins: a log of what was admitted, and when. Above 4,096 calls the
 * log has sub-windows of 1/4,096 of the period, each of which counts whole until its last admission has left the window: up to
 * that share of the period later than need be, never earlier.
 */
export class SlidingWindowLimiter implements Limiter {
  readonly #clock: MonotonicClock;
  readonly #calls: number;
  readonly #windowUs: number;
  readonly #subWindowUs: number;
  /** A ring, oldest first: when the last of an entry was admitted, and how many. */
  readonly #times: Float64Array;
  readonly #counts: Float64Array;
  #head = 0;
  #length = 0;
  /** When the first of the newest entry was admitted. */
  #newestFromUs = -Infinity;
  #total = 0;

  /** @throws RangeError */
  constructor({ calls, periodMs, clock = systemClock }: SlidingWindowOptions) {
    this.#calls = checkWhole("calls", calls);
    this.#windowUs = checkPeriod("periodMs", periodMs);
    this.#clock = clock;
    this.#subWindowUs = calls > mostEntries ? Math.ceil(this.#windowUs / (mostEntries - 2)) : 0;
    const size = Math.min(calls, mostEntries);
    this.#times = new Float64Array(size);
    this.#counts = new Float64Array(size);
  }

  allow(cost = 1): boolean {
    checkWhole("cost", cost);
    const { floor, ceil } = microseconds(this.#clock);
    this.#forget(floor - this.#windowUs);
    if (this.#total + cost > this.#calls) return false;
    const newest = this.#at(this.#length - 1);
    if (this.#length > 0 && (this.#times[newest] === ceil || ceil - this.#newestFromUs < this.#subWindowUs)) {
      this.#times[newest] = ceil;
      this.#counts[newest]! += cost;
    } else {
      const free = this.#at(this.#length++);
      this.#times[free] = ceil;
      this.#counts[free] = cost;
      this.#newestFromUs = ceil;
    }
    this.#total += cost;
    return true;
  }

  waitTime(cost = 1): number {
    if (checkWhole("cost", cost) > this.#calls) return Infinity;
    const { floor } = microseconds(this.#clock);
    this.#forget(floor - this.#windowUs);
    let excess = this.#total + cost - this.#calls;
    if (excess <= 0) return 0;
    let last = 0;
    for (let i = 0; excess > 0; i++) {
      last = this.#at(i);
      excess -= this.#counts[last]!;
    }
    return Math.ceil((this.#times[last]! + this.#windowUs - floor) / 1_000);
  }

  /** Drops what was admitted up to then: a window that ends now no longer reaches it. */
  #forget(us: number): void {
    while (this.#length > 0 && this.#times[this.#head]! <= us) {
      this.#total -= this.#counts[this.#head]!;
      this.#head = this.#at(1);
      this.#length--;
    }
  }

  #at(index: number): number {
    return (this.#head + index) % this.#times.length;
  }
}
