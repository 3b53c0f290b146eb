import { systemClock } from "#libs/clock/clock.ts";
import { checkPeriod, checkWhole, type Limiter, microseconds, type MonotonicClock } from "./limiter.ts";

export interface TokenBucketOptions {
  /** How many come back each period, evenly. A whole number of at least 1. */
  readonly calls: number;
  /** In milliseconds, to the microsecond. */
  readonly periodMs: number;
  /** How many can be taken at once after a rest. Default: `calls`. */
  readonly burst?: number | undefined;
  /** Default: the system's. */
  readonly clock?: MonotonicClock;
}

// A quotient of numbers up to here is never rounded to a whole one that it is not.
const maxCapacity = 2 ** 50;

/**
 * In every interval of t ms at most burst + calls · t / periodMs, whoever asks: GCRA (ITU-T I.371) in whole numbers, as in the
 * RateLimit service. An amount is counted in grains, so small that a token and a microsecond's refill are both whole.
 */
export class TokenBucketLimiter implements Limiter {
  readonly #clock: MonotonicClock;
  readonly #token: number;
  readonly #refill: number;
  readonly #capacity: number;
  /** Grains missing from the full bucket at `#atUs`. */
  #spent = 0;
  #atUs = -Infinity;

  /** @throws RangeError also for a combination that cannot be counted exactly, such as 999,983 calls in 366 days. */
  constructor({ calls, periodMs, burst = calls, clock = systemClock }: TokenBucketOptions) {
    checkWhole("calls", calls);
    checkWhole("burst", burst);
    const periodUs = checkPeriod("periodMs", periodMs);
    const divisor = greatestCommonDivisor(calls, periodUs);
    this.#clock = clock;
    this.#token = periodUs / divisor;
    this.#refill = calls / divisor;
    this.#capacity = burst * this.#token;
    if (this.#capacity > maxCapacity) {
      throw new RangeError(
        `${calls} calls in ${periodMs} ms with a burst of ${burst} cannot be counted exactly: ` +
          "choose a rounder number of calls, a shorter period or a smaller burst.",
      );
    }
  }

  allow(cost = 1): boolean {
    checkWhole("cost", cost);
    const { floor, ceil } = microseconds(this.#clock);
    const spent = this.#spentAt(floor);
    if (spent > this.#capacity - cost * this.#token) return false;
    // A full bucket refills nothing, so what is taken from it dates from now and not from before.
    this.#atUs = Math.max(this.#atUs, spent === 0 ? ceil : floor);
    this.#spent = spent + cost * this.#token;
    return true;
  }

  waitTime(cost = 1): number {
    const room = this.#capacity - checkWhole("cost", cost) * this.#token;
    if (room < 0) return Infinity;
    const { floor } = microseconds(this.#clock);
    if (this.#spentAt(floor) <= room) return 0;
    const readyUs = this.#atUs + Math.ceil((this.#spent - room) / this.#refill);
    return Math.ceil((readyUs - floor) / 1_000);
  }

  #spentAt(us: number): number {
    if (us <= this.#atUs) return this.#spent;
    const elapsedUs = us - this.#atUs;
    // Before it is multiplied: the product of a long rest would not be exact.
    return elapsedUs >= this.#spent / this.#refill ? 0 : this.#spent - elapsedUs * this.#refill;
  }
}

function greatestCommonDivisor(a: number, b: number): number {
  let [large, small] = [a, b];
  while (small !== 0) [large, small] = [small, large % small];
  return large;
}
