/**
 * Time as this process lived through it. While its event loop, or the machine, stood still nothing could be heard from
 * anybody, and nobody's lease may run out for that: of the time between two ticks no more than two intervals count.
 */
export class AwakeTime {
  readonly #toleratedMs: number;
  #lastTickMs: number;
  #lostMs = 0;

  /** @param everyMs how often `tick` is called. */
  constructor(everyMs: number, monotonicMs: number) {
    this.#toleratedMs = 2 * everyMs;
    this.#lastTickMs = monotonicMs;
  }

  /** @returns for how long this process stood still, in milliseconds; 0 nearly always. */
  tick(monotonicMs: number): number {
    const stoodStillMs = Math.max(0, monotonicMs - this.#lastTickMs - this.#toleratedMs);
    this.#lostMs += stoodStillMs;
    this.#lastTickMs = monotonicMs;
    return stoodStillMs;
  }

  at(monotonicMs: number): number {
    return Math.min(monotonicMs, this.#lastTickMs + this.#toleratedMs) - this.#lostMs;
  }
}
