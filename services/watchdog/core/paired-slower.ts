import { Moments, type MomentsState, type Pair } from "./moments.ts";
import { medianOf, type MedianWithInterval, Recent, type RecentState } from "./recent.ts";
import { signBets, Wealth, type WealthState } from "./wealth.ts";

export interface PairedSlowerState {
  readonly wealth: WealthState;
  readonly ratios: RecentState;
  readonly differencesMs: RecentState;
  readonly moment?: MomentsState;
  readonly compared: number;
}

/** A microsecond: what took no measurable time has a ratio too. */
const leastMs = 0.001;
const minRatio = 1.2;
/** What the ratio is not below, with 95 %: a few moments of one process make a median of 1.2, too. */
const minRatioLow = 1.05;
/** Milliseconds. Less is the doing of the machine: which core, which cache, who else. */
export const minDifferenceMs = 2;

/**
 * Is the canary slower than the control beside it? The sign of the difference in each pair, +1 with probability 1/2 at most when
 * it is not (pairs that tie say nothing and are left out), is bet on: the sequential sign test as a test martingale
 * (Ville 1939; Shafer and Vovk 2019). The distribution of durations does not matter, nor that it drifts, if it drifts for both. Pairs of the
 * same moment count as one (see `Moments`).
 */
export class PairedSlower {
  readonly #wealth: Wealth;
  readonly #moments: Moments;
  readonly #ratios: Recent;
  readonly #differencesMs: Recent;
  readonly #threshold: number;
  #compared: number;

  constructor(alpha: number, state?: PairedSlowerState) {
    this.#threshold = 1 / alpha;
    this.#wealth = new Wealth(signBets, state?.wealth);
    this.#moments = new Moments(state?.moment);
    this.#ratios = new Recent(state?.ratios);
    this.#differencesMs = new Recent(state?.differencesMs);
    this.#compared = state?.compared ?? 0;
  }

  get eValue(): number {
    return this.#wealth.total;
  }

  /** Pairs. */
  get compared(): number {
    return this.#compared;
  }

  /** Whether M ≥ 1/α, and what is newest is worth it. */
  get isWorse(): boolean {
    if (this.#wealth.total < this.#threshold || this.#ratios.median() < minRatio) return false;
    const { low = 0 } = this.#ratios.intervalNow(0.05);
    return low >= minRatioLow && this.#differencesMs.median() >= minDifferenceMs;
  }

  /** Takes the durations of a pair of which neither failed, and when the canary's ended. */
  observe(canaryMs: number, controlMs: number, at: number | undefined): void {
    this.#compared++;
    for (const pairs of this.#moments.add([canaryMs, controlMs], at)) {
      this.#ratios.add(median(pairs.map(ratioOf)));
      this.#differencesMs.add(median(pairs.map(([canary, control]) => canary - control)));
      const slower = pairs.reduce((sum, pair) => sum + Math.sign(ratioOf(pair) - 1), 0);
      if (slower !== 0) this.#wealth.bet(slower > 0 ? 0 : 1);
    }
  }

  /** The median of the ratios of the newest 50 to 100 moments, with its 95 % interval (see `Recent`). */
  ratio(): MedianWithInterval {
    return this.#ratios.medianWithInterval(0.05);
  }

  toJSON(): PairedSlowerState {
    const moment = this.#moments.toJSON();
    return {
      wealth: this.#wealth.toJSON(),
      ratios: this.#ratios.toJSON(),
      differencesMs: this.#differencesMs.toJSON(),
      ...(moment && { moment }),
      compared: this.#compared,
    };
  }
}

const ratioOf = ([canaryMs, controlMs]: Pair): number => Math.max(canaryMs, leastMs) / Math.max(controlMs, leastMs);
const median = (values: readonly number[]): number => medianOf(Float64Array.from(values).sort());
