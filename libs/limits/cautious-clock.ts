import type { Clock } from "#libs/clock/clock.ts";
import type { MonotonicClock } from "./limiter.ts";

/** What clocks may differ by between two readings without the machine having slept, in milliseconds. */
const toleranceMs = 50;

/**
 * A monotonic clock that also goes on while the machine sleeps, as far as the wall clock tells: a monotonic clock alone may stand
 * still then, and what was leased before would be spent long after it has ended for the arbiter.
 */
export class CautiousClock implements MonotonicClock {
  readonly #clock: Pick<Clock, "now" | "monotonic">;
  #sleptMs = 0;
  #monotonicMs: number;
  #wallMs: number;

  constructor(clock: Pick<Clock, "now" | "monotonic">) {
    this.#clock = clock;
    this.#monotonicMs = clock.monotonic();
    this.#wallMs = clock.now();
  }

  monotonic(): number {
    const monotonicMs = this.#clock.monotonic();
    const wallMs = this.#clock.now();
    const aheadMs = wallMs - this.#wallMs - (monotonicMs - this.#monotonicMs);
    if (aheadMs > toleranceMs) this.#sleptMs += aheadMs;
    this.#monotonicMs = monotonicMs;
    this.#wallMs = wallMs;
    return monotonicMs + this.#sleptMs;
  }
}
