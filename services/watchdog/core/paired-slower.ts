import { type MedianWithInterval, Recent, type RecentState } from "./recent.ts";
import { signBets, Wealth, type WealthState } from "./wealth.ts";

export interface PairedSlowerState {
  readonly wealth: WealthState;
  readonly ratios: RecentState;
  readonly compared: number;
}

export const minSlowerRatio = 1.2;
/** A microsecond: what took no measurable time has a ratio too. */
const leastMs = 0.001;

/**
 * Is the canary slower than the control beside it? The sign of the difference in each pair, +1 with probability 1/2 at most when
 * it is not (pairs that tie say nothing and are left out), is bet on: the sequential sign test as a test martingale
 * (Ville 1939; Shafer and Vovk 2019). The distribution of durations does not matter, nor that it drifts, if it drifts for both.
 */
export class PairedSlower {
  readonly #wealth: Wealth;
  readonly #ratios: Recent;
  readonly #threshold: number;
  #compared: number;

  constructor(alpha: number, state?: PairedSlowerState) {
    this.#threshold = 1 / alpha;
    this.#wealth = new Wealth(signBets, state?.wealth);
    this.#ratios = new Recent(state?.ratios);
    this.#compared = state?.compared ?? 0;
  }

  get eValue(): number {
    return this.#wealth.total;
  }

  /** Pairs. */
  get compared(): number {
    return this.#compared;
  }

  /** Whether M ≥ 1/α and the median of the newest ratios is worth it. */
  get isWorse(): boolean {
    return this.#wealth.total >= this.#threshold && this.#ratios.median() >= minSlowerRatio;
  }

  /** Takes the durations of a pair of which neither failed. */
  observe(canaryMs: number, controlMs: number): void {
    const ratio = Math.max(canaryMs, leastMs) / Math.max(controlMs, leastMs);
    this.#compared++;
    this.#ratios.add(ratio);
    if (ratio !== 1) this.#wealth.bet(ratio > 1 ? 0 : 1);
  }

  /** The median of the ratios of the newest 50 to 100 pairs, with its 95 % interval (see `Recent`). */
  ratio(): MedianWithInterval {
    return this.#ratios.medianWithInterval(0.05);
  }

  toJSON(): PairedSlowerState {
    return {
      wealth: this.#wealth.toJSON(),
      ratios: this.#ratios.toJSON(),
      compared: this.#compared,
    };
  }
}
