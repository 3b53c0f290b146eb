import { momentMs, Moments, type MomentsState } from "./moments.ts";
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
  readonly moment?: MomentsState;
  readonly compared: number;
}

/**
 * Does the canary fail more often than the control beside it? Of the pairs of which one failed and the other did not it
 * is the canary's failure with probability 1/2 at most if not (McNemar 1947); that sign is bet on, as in `PairedSlower`,
 * for all pairs of a moment together.
 */
export class PairedFailures {
  readonly #wealth: Wealth;
  readonly #moments: Moments;
  readonly #failures: Recent;
  readonly #controlFailures: Recent;
  readonly #threshold: number;
  #compared: number;

  constructor(alpha: number, state?: PairedFailuresState) {
    this.#threshold = 1 / alpha;
    this.#wealth = new Wealth(signBets, state?.wealth);
    this.#failures = new Recent(state?.failures);
    this.#controlFailures = new Recent(state?.controlFailures);
    this.#moments = new Moments(state?.moment);
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

  /** Of the newest 50 to 100 moments; NaN without one. */
  get shares(): { readonly share: number; readonly controlShare: number } {
    return { share: this.#failures.mean(), controlShare: this.#controlFailures.mean() };
  }

  /** @param at when the canary's ended, if that is known. */
  observe(canaryFailed: boolean, controlFailed: boolean, at: number | undefined): void {
    this.#compared++;
    for (const pairs of this.#moments.add([Number(canaryFailed), Number(controlFailed)], at)) {
      const share = mean(pairs.map(([canary]) => canary));
      const controlShare = mean(pairs.map(([, control]) => control));
      this.#failures.add(share);
      this.#controlFailures.add(controlShare);
      if (share !== controlShare) this.#wealth.bet(share > controlShare ? 0 : 1);
    }
  }

  toJSON(): PairedFailuresState {
    const moment = this.#moments.toJSON();
    return {
      ...(moment && { moment }),
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
  readonly at?: number;
}

/** Does the canary fail more often than an earlier version did? The ranks of 0 and 1, their ties broken at random (see `RankTest`). */
export class BaselineFailures {
  readonly #ranks: RankTest;
  readonly #failures: Recent;
  readonly #threshold: number;
  readonly #baseShare: number;
  #compared: number;
  #at: number;

  /** @param outcomes of the baseline: one execution at least. */
  constructor(alpha: number, outcomes: Outcomes, seed: number, state?: BaselineFailuresState) {
    this.#threshold = 1 / alpha;
    const { executions, failures } = outcomes;
    const baseline = Array.from({ length: executions }, (_, i) => (i < failures ? 1 : 0));
    this.#ranks = new RankTest(baseline, seed, state?.ranks);
    this.#failures = new Recent(state?.failures);
    this.#baseShare = failures / executions;
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
    return this.#ranks.eValue >= this.#threshold && failsFarMore(this.#failures.mean(), this.#baseShare);
  }

  /** Of the newest 50 to 100 executions, and of the baseline; NaN without one. */
  get shares(): { readonly share: number; readonly controlShare: number } {
    return { share: this.#failures.mean(), controlShare: this.#baseShare };
  }

  /** @param at when it ended, if that is known: of a moment (see `Moments`) the first is ranked. */
  observe(failed: boolean, at: number | undefined): void {
    this.#compared++;
    if (at !== undefined && Math.abs(at - this.#at) < momentMs) return;
    this.#at = at ?? NaN;
    this.#failures.add(failed ? 1 : 0);
    this.#ranks.observe(failed ? 1 : 0);
  }

  toJSON(): BaselineFailuresState {
    const at = Number.isNaN(this.#at) ? {} : { at: this.#at };
    return { ranks: this.#ranks.toJSON(), failures: this.#failures.toJSON(), compared: this.#compared, ...at };
  }
}

export interface MostlyFailsState {
  readonly wealth: WealthState;
  readonly failures: RecentState;
  readonly moment?: MomentsState;
}

/** Does it fail more than every second time? What can be asked when there is nothing to compare with: the sign is +1 for a failure. */
export class MostlyFails {
  readonly #wealth: Wealth;
  readonly #moments: Moments;
  readonly #failures: Recent;
  readonly #threshold: number;

  constructor(alpha: number, state?: MostlyFailsState) {
    this.#threshold = 1 / alpha;
    this.#wealth = new Wealth(signBets, state?.wealth);
    this.#failures = new Recent(state?.failures);
    this.#moments = new Moments(state?.moment);
  }

  get eValue(): number {
    return this.#wealth.total;
  }

  get isWorse(): boolean {
    return this.#wealth.total >= this.#threshold && this.#failures.mean() > 0.5;
  }

  /** Of the newest 50 to 100 moments; NaN without one. */
  get share(): number {
    return this.#failures.mean();
  }

  /** @param at when it ended, if that is known. */
  observe(failed: boolean, at: number | undefined): void {
    for (const pairs of this.#moments.add([Number(failed), 0.5], at)) {
      const share = mean(pairs.map(([canary]) => canary));
      this.#failures.add(share);
      if (share !== 0.5) this.#wealth.bet(share > 0.5 ? 0 : 1);
    }
  }

  toJSON(): MostlyFailsState {
    const moment = this.#moments.toJSON();
    return { wealth: this.#wealth.toJSON(), failures: this.#failures.toJSON(), ...(moment && { moment }) };
  }
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
