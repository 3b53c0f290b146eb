import { RankTest, type RankTestState } from "./rank-test.ts";
import { Recent, type RecentState } from "./recent.ts";
import { signBets, Wealth, type WealthState } from "./wealth.ts";

/** What is worth a verdict: a share of failures at least a hundredth higher, and 1.2 times as high. */
function failsMore(share: number, controlShare: number): boolean {
  return share >= controlShare + 0.01 && share >= 1.2 * controlShare;
}

/** Against a baseline, which is of another time: five hundredths higher, and twice as high. */
function failsFarMore(share: number, baseShare: number): boolean {
  return share >= baseShare + 0.05 && share >= 2 * baseShare;
}

export interface PairedFailuresState {
  readonly wealth: WealthState;
  readonly failures: RecentState;
  readonly controlFailures: RecentState;
  readonly compared: number;
}

/**
 * Does the canary fail more often than the control beside it? Of the pairs of which one failed and the other did not it
 * is the canary's failure with probability 1/2 at most if not (McNemar 1947); that sign is bet on, as in `PairedSlower`.
 */
export class PairedFailures {
  readonly #wealth: Wealth;
  readonly #failures: Recent;
  readonly #controlFailures: Recent;
  readonly #threshold: number;
  #compared: number;

  constructor(alpha: number, state?: PairedFailuresState) {
    this.#threshold = 1 / alpha;
    this.#wealth = new Wealth(signBets, state?.wealth);
    this.#failures = new Recent(state?.failures);
    this.#controlFailures = new Recent(state?.controlFailures);
    this.#compared = state?.compared ?? 0;
  }

  get eValue(): number {
    return this.#wealth.total;
  }

  /** Pairs. */
  get compared(): number {
    return this.#compared;
  }

  get isWorse(): boolean {
    return this.#wealth.total >= this.#threshold && failsMore(this.#failures.mean(), this.#controlFailures.mean());
  }

  /** Of the newest 50 to 100 pairs; NaN without one. */
  get shares(): { readonly share: number; readonly controlShare: number } {
    return { share: this.#failures.mean(), controlShare: this.#controlFailures.mean() };
  }

  observe(canaryFailed: boolean, controlFailed: boolean): void {
    this.#compared++;
    this.#failures.add(canaryFailed ? 1 : 0);
    this.#controlFailures.add(controlFailed ? 1 : 0);
    if (canaryFailed !== controlFailed) this.#wealth.bet(canaryFailed ? 0 : 1);
  }

  toJSON(): PairedFailuresState {
    return {
      wealth: this.#wealth.toJSON(),
      failures: this.#failures.toJSON(),
      controlFailures: this.#controlFailures.toJSON(),
      compared: this.#compared,
    };
  }
}

export interface Outcomes {
  readonly executions: number;
  readonly failures: number;
}

export interface BaselineFailuresState {
  readonly ranks: RankTestState;
  readonly failures: RecentState;
  readonly compared: number;
}

/** Does the canary fail more often than an earlier version did? The ranks of 0 and 1, their ties broken at random (see `RankTest`). */
export class BaselineFailures {
  readonly #ranks: RankTest;
  readonly #failures: Recent;
  readonly #threshold: number;
  readonly #baseShare: number;
  #compared: number;

  /** @param outcomes of the baseline: one execution at least. */
  constructor(alpha: number, outcomes: Outcomes, seed: number, state?: BaselineFailuresState) {
    this.#threshold = 1 / alpha;
    const { executions, failures } = outcomes;
    const baseline = Array.from({ length: executions }, (_, i) => (i < failures ? 1 : 0));
    this.#ranks = new RankTest(baseline, seed, state?.ranks);
    this.#failures = new Recent(state?.failures);
    this.#baseShare = failures / executions;
    this.#compared = state?.compared ?? 0;
  }

  get eValue(): number {
    return this.#ranks.eValue;
  }

  get compared(): number {
    return this.#compared;
  }

  get isWorse(): boolean {
    return this.#ranks.eValue >= this.#threshold && failsFarMore(this.#failures.mean(), this.#baseShare);
  }

  /** Of the newest 50 to 100 executions, and of the baseline; NaN without one. */
  get shares(): { readonly share: number; readonly controlShare: number } {
    return { share: this.#failures.mean(), controlShare: this.#baseShare };
  }

  observe(failed: boolean): void {
    this.#compared++;
    this.#failures.add(failed ? 1 : 0);
    this.#ranks.observe(failed ? 1 : 0);
  }

  toJSON(): BaselineFailuresState {
    return { ranks: this.#ranks.toJSON(), failures: this.#failures.toJSON(), compared: this.#compared };
  }
}

export interface MostlyFailsState {
  readonly wealth: WealthState;
  readonly failures: RecentState;
}

/** Does it fail more than every second time? What can be asked when there is nothing to compare with: the sign is +1 for a failure. */
export class MostlyFails {
  readonly #wealth: Wealth;
  readonly #failures: Recent;
  readonly #threshold: number;

  constructor(alpha: number, state?: MostlyFailsState) {
    this.#threshold = 1 / alpha;
    this.#wealth = new Wealth(signBets, state?.wealth);
    this.#failures = new Recent(state?.failures);
  }

  get eValue(): number {
    return this.#wealth.total;
  }

  get isWorse(): boolean {
    return this.#wealth.total >= this.#threshold && this.#failures.mean() > 0.5;
  }

  /** Of the newest 50 to 100 executions; NaN without one. */
  get share(): number {
    return this.#failures.mean();
  }

  observe(failed: boolean): void {
    this.#failures.add(failed ? 1 : 0);
    this.#wealth.bet(failed ? 0 : 1);
  }

  toJSON(): MostlyFailsState {
    return { wealth: this.#wealth.toJSON(), failures: this.#failures.toJSON() };
  }
}
