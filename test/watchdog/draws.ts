/** Seeded (sfc32, C. Doty-Humphrey 2010): 128 bits of state, for the hundred millions of numbers of a simulation. */
export class Draws {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;
  #spare = NaN;

  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = Math.imul(seed, 0x9e3779b9) | 0;
    this.#c = 0x243f6a88;
    for (let i = 0; i < 15; i++) this.uniform();
  }

  /** From 0 to below 1. */
  uniform(): number {
    const t = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + t) | 0;
    return (t >>> 0) / 2 ** 32;
  }

  /** Mean 0, deviation 1 (the polar method of Marsaglia and Bray 1964). */
  normal(): number {
    if (!Number.isNaN(this.#spare)) {
      const spare = this.#spare;
      this.#spare = NaN;
      return spare;
    }
    for (;;) {
      const x = 2 * this.uniform() - 1;
      const y = 2 * this.uniform() - 1;
      const square = x * x + y * y;
      if (square >= 1 || square === 0) continue;
      const factor = Math.sqrt((-2 * Math.log(square)) / square);
      this.#spare = y * factor;
      return x * factor;
    }
  }
}

/** A duration, ms, of the i-th execution of 2,000 or so. */
export type Durations = (draws: Draws, i: number) => number;

export const logNormal =
  (sigma: number): Durations =>
  (draws) =>
    10 * Math.exp(sigma * draws.normal());

/** Found in a cache, 3 of 10 times, or not. */
export const bimodal: Durations = (draws) => (draws.uniform() < 0.3 ? 1 : 40) * Math.exp(0.1 * draws.normal());

/** Pareto with the exponent 1.1: no variance, a mean that nothing measures. */
export const heavyTailed: Durations = (draws) => 5 * (1 - draws.uniform()) ** (-1 / 1.1);

/** Both get slower and faster together, threefold. */
export const drifting: Durations = (draws, i) => 10 * 3 ** Math.sin(i / 100) * Math.exp(0.2 * draws.normal());

/** Whole milliseconds, 3 or 4 of them: most pairs tie. */
export const coarse: Durations = (draws) => 3 + Math.floor(1.3 * draws.uniform());

/**
 * A process that is three times as slow for a while, now and then: it collects garbage, compiles, or has lost its core. `i` counts
 * executions that are 5 ms apart; a slow while has 40 of them on average, and a quarter of all are in one.
 */
export function hiccuping(draws: Draws): Durations {
  let slow = draws.uniform() < 0.25;
  return () => {
    if (draws.uniform() < (slow ? 1 / 40 : 1 / 120)) slow = !slow;
    return (slow ? 30 : 10) * Math.exp(0.2 * draws.normal());
  };
}
