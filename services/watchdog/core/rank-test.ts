import { Random } from "./random.ts";
import { lowerBound, upperBound } from "./sorted.ts";
import { rankBets, Wealth, type WealthState } from "./wealth.ts";

export interface RankTestState {
  readonly episode: number;
  /** Of this episode, sorted. */
  readonly values: readonly number[];
  readonly wealth: WealthState;
  readonly random: number;
}

/** Long enough for 11 % instead of 1 %, short enough that the baseline is not outnumbered by what is compared with it. */
export const episodeLength = 500;

/**
 * Do values tend to be larger than those of a frozen baseline? The conformal p-value of each, its rank among the baseline and the
 * values before it, ties broken at random, is uniform and independent of those before when all are exchangeable (Vovk, Gammerman
 * and Shafer 2005, ch. 7), and larger when the new ones tend to be smaller; against that is bet. Ranked among the baseline alone the p-values would
 * not be independent: all of them would inherit its luck, and every baseline would look wrong in the end.
 *
 * What has been ranked dilutes the baseline, so the test is begun anew every 500 values, from the baseline alone: episode
 * e = 1, 2, … has 6α/(π²e²) of the false alarms, which sum to α, whatever the dependence between episodes (a union bound). So the price of a late
 * change is a threshold e²·π²/6 times higher.
 */
export class RankTest {
  readonly #baseline: Float64Array;
  readonly #values = new Float64Array(episodeLength);
  readonly #random: Random;
  #wealth: Wealth;
  #size = 0;
  #episode = 1;

  constructor(baseline: readonly number[], seed: number, state?: RankTestState) {
    this.#baseline = Float64Array.from(baseline).sort();
    this.#random = new Random(state?.random ?? seed);
    this.#wealth = new Wealth(rankBets, state?.wealth);
    if (state === undefined) return;
    this.#episode = state.episode;
    this.#size = state.values.length;
    this.#values.set(state.values);
  }

  /** To be compared with 1/α: the wealth times the episode's share. */
  get eValue(): number {
    return (this.#wealth.total * 6) / (Math.PI * this.#episode) ** 2;
  }

  /** The baseline's, sorted. */
  get baseline(): Float64Array {
    return this.#baseline;
  }

  observe(value: number): void {
    if (this.#size === episodeLength) {
      this.#size = 0;
      this.#episode++;
      this.#wealth = new Wealth(rankBets);
    }
    const from = lowerBound(this.#values, this.#size, value);
    const to = upperBound(this.#values, this.#size, value);
    const baseFrom = lowerBound(this.#baseline, this.#baseline.length, value);
    const baseTo = upperBound(this.#baseline, this.#baseline.length, value);
    const larger = this.#size - to + this.#baseline.length - baseTo;
    // With itself.
    const equal = to - from + baseTo - baseFrom + 1;
    this.#wealth.bet((larger + this.#random.next() * equal) / (this.#size + this.#baseline.length + 1));
    this.#values.copyWithin(to + 1, to, this.#size++);
    this.#values[to] = value;
  }

  toJSON(): RankTestState {
    return {
      episode: this.#episode,
      values: [...this.#values.subarray(0, this.#size)],
      wealth: this.#wealth.toJSON(),
      random: this.#random.state,
    };
  }
}
