import { momentMs } from "./moments.ts";
import { orderInterval } from "./order-interval.ts";
import { minDifferenceMs } from "./paired-slower.ts";
import { RankTest, type RankTestState } from "./rank-test.ts";
import { medianOf, type MedianWithInterval, Recent, type RecentState } from "./recent.ts";

export interface BaselineSlowerState {
  readonly ranks: RankTestState;
  readonly durations: RecentState;
  readonly compared: number;
  readonly at?: number;
}

/** What another hour, or more of the load, may do to a version that is the same. */
const tolerance = 1.25;
const minRatio = 1.4;

/**
 * Is the canary slower than an earlier version was, by more than a quarter? By the rank of each duration divided by 1.25 (see `RankTest`): if
 * the canary takes at most 1.25 times as long, the p-values are uniform or larger. What is compared is of different times, so more than
 * that is needed before it is called the version's doing; what slows every version down by 1.4 looks like a slower version still.
 */
export class BaselineSlower {
  readonly #ranks: RankTest;
  readonly #durations: Recent;
  readonly #threshold: number;
  readonly #baseMedianMs: number;
  #compared: number;
  #at: number;

  /** @param baselineMs durations of executions that did not fail; one at least. */
  constructor(alpha: number, baselineMs: readonly number[], seed: number, state?: BaselineSlowerState) {
    this.#threshold = 1 / alpha;
    this.#ranks = new RankTest(baselineMs, seed, state?.ranks);
    this.#durations = new Recent(state?.durations);
    this.#baseMedianMs = medianOf(this.#ranks.baseline);
    this.#compared = state?.compared ?? 0;
    this.#at = state?.at ?? NaN;
  }

  get eValue(): number {
    return this.#ranks.eValue;
  }

  get compared(): number {
    return this.#compared;
  }

  get isWorse(): boolean {
    if (this.#ranks.eValue < this.#threshold) return false;
    return this.#durations.median() >= Math.max(minRatio * this.#baseMedianMs, this.#baseMedianMs + minDifferenceMs);
  }

  /** Takes the duration of an execution that did not fail, and when it ended: of a moment (see `Moments`), the first is ranked. */
  observe(durationMs: number, at: number | undefined): void {
    if (at !== undefined && Math.abs(at - this.#at) < momentMs) return;
    this.#at = at ?? NaN;
    this.#compared++;
    this.#durations.add(durationMs);
    this.#ranks.observe(durationMs / tolerance);
  }

  /**
   * The median of the newest 50 to 100 durations by that of the baseline, with its 95 % interval: the lower end of the one's by the upper
   * end of the other's, and the other way round, at 97.5 % each.
   */
  ratio(): MedianWithInterval {
    const now = this.#durations.medianWithInterval(0.025);
    const then = orderInterval(this.#ranks.baseline, 0.025);
    return {
      median: quotient(now.median, this.#baseMedianMs) ?? NaN,
      low: quotient(now.low, then.high),
      high: quotient(now.high, then.low),
    };
  }

  toJSON(): BaselineSlowerState {
    return { ranks: this.#ranks.toJSON(), durations: this.#durations.toJSON(), compared: this.#compared };
  }
}

function quotient(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined || b === 0 ? undefined : a / b;
}
