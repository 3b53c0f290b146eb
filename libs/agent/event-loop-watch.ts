import { type Clock, systemClock } from "#libs/clock/clock.ts";

const sampleEveryMs = 250;

/** Notices, afterwards, that nothing could run for a while: a timer that came late by as much. */
export class EventLoopWatch implements Disposable {
  readonly #clock: Clock;
  readonly #timer: Disposable;
  #lastMs: number;
  #longestMs = 0;
  #longestEndMs = 0;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
    this.#lastMs = clock.monotonic();
    this.#timer = clock.setInterval(() => this.#sample(), sampleEveryMs);
  }

  /**
   * The longest time that the event loop stood still since this was last asked, in milliseconds, short by up to 250; 0 if
   * that ended longer than `withinMs` ago.
   */
  takeLongestMs(withinMs: number): number {
    this.#sample();
    const longestMs = this.#lastMs - this.#longestEndMs <= withinMs ? this.#longestMs : 0;
    this.#longestMs = 0;
    return longestMs;
  }

  #sample(): void {
    const nowMs = this.#clock.monotonic();
    const blockedMs = nowMs - this.#lastMs - sampleEveryMs;
    if (blockedMs > this.#longestMs) {
      this.#longestMs = blockedMs;
      this.#longestEndMs = nowMs;
    }
    this.#lastMs = nowMs;
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }
}
