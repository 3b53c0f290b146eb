import { VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { BaselineSlower, type BaselineSlowerState } from "./baseline-slower.ts";
import {
  failingFinding,
  type Finding,
  leakFinding,
  mostlyFailsFinding,
  percent,
  ratioEvidence,
  ratioText,
  slowerFinding,
} from "./finding.ts";
import { Leak, type LeakState } from "./leak.ts";
import {
  BaselineFailures,
  type BaselineFailuresState,
  MostlyFails,
  type MostlyFailsState,
  PairedFailures,
  type PairedFailuresState,
} from "./more-failures.ts";
import { ColdStarts, type ColdStartsState } from "./cold-starts.ts";
import { type Outcome, Pairing, type PairingState, type Timed } from "./pairing.ts";
import { PairedSlower, type PairedSlowerState } from "./paired-slower.ts";
import { Passed, type PassedState } from "./passed.ts";
import type { Observation, Side, TrialOptions } from "./trial.ts";

export interface QuestionsState {
  readonly sinceControl: number;
  readonly unopposed: number;
  /** Latest end of an execution. */
  readonly now: number;
  readonly coldStarts: ColdStartsState;
  readonly passed: PassedState;
  readonly pairing?: PairingState;
  readonly pairedSlower?: PairedSlowerState;
  readonly pairedFailures?: PairedFailuresState;
  readonly baselineSlower?: BaselineSlowerState;
  readonly baselineFailures?: BaselineFailuresState;
  readonly mostlyFails?: MostlyFailsState;
  readonly leak: LeakState;
}

/** Executions of the canary without one of the control after which the canary is alone. */
const aloneAfter = 100;
/** Executions that have to be compared before a version is called healthy. */
const enough = 20;

/**
 * The questions of a trial: slower and failing more, beside the control and against the baseline, as far as there are such, or
 * else failing mostly; and leaking. An execution of the canary is compared with one of the control; only when none of those
 * came for 100 of the canary's, with the baseline.
 */
export class Questions {
  readonly #controlVersion: string;
  readonly #baseVersion: string;
  readonly #pairing: Pairing | undefined;
  readonly #pairedSlower: PairedSlower | undefined;
  readonly #pairedFailures: PairedFailures | undefined;
  readonly #baselineSlower: BaselineSlower | undefined;
  readonly #baselineFailures: BaselineFailures | undefined;
  readonly #mostlyFails: MostlyFails | undefined;
  readonly #leak: Leak;
  readonly #coldStarts: ColdStarts;
  readonly #passed: Passed;
  #sinceControl: number;
  #unopposed: number;
  #now: number;

  constructor({ controlVersion, baseline, alpha = 0.001, seed = 1 }: TrialOptions, state?: QuestionsState) {
    const based = baseline !== undefined && baseline.executions > 0;
    const timed = based && baseline.durationsMs.length > 0;
    const paired = controlVersion !== undefined;
    const asked = 1 + (paired ? 2 : 0) + (based ? 1 : 0) + (timed ? 1 : 0) + (paired || based ? 0 : 1);
    const share = alpha / asked;
    if (paired) {
      this.#pairing = new Pairing(state?.pairing);
      this.#pairedSlower = new PairedSlower(share, state?.pairedSlower);
      this.#pairedFailures = new PairedFailures(share, state?.pairedFailures);
    }
    if (timed) this.#baselineSlower = new BaselineSlower(share, baseline.durationsMs, seed, state?.baselineSlower);
    if (based) this.#baselineFailures = new BaselineFailures(share, baseline, seed + 1, state?.baselineFailures);
    if (!paired && !based) this.#mostlyFails = new MostlyFails(share, state?.mostlyFails);
    this.#leak = new Leak(share, state?.leak);
    this.#coldStarts = new ColdStarts(state?.coldStarts);
    this.#passed = new Passed(state?.passed);
    this.#controlVersion = controlVersion ?? "";
    this.#baseVersion = baseline?.version ?? "";
    this.#sinceControl = state?.sinceControl ?? (paired ? 0 : aloneAfter);
    this.#unopposed = state?.unopposed ?? 0;
    this.#now = state?.now ?? 0;
  }

  /** Executions of the canary. */
  get compared(): number {
    return (this.#pairedFailures?.compared ?? 0) + (this.#baselineFailures?.compared ?? 0) + this.#unopposed;
  }

  /** The same, of a moment four at most. */
  get passed(): number {
    return this.#passed.count;
  }

  observe(side: Side, execution: Observation): void {
    const { agentId, durationMs, failed, endTimeMs = this.#now } = execution;
    if (endTimeMs > this.#now) this.#now = endTimeMs;
    if (side === "control") {
      this.#sinceControl = 0;
      this.#pairing?.addControl({ at: endTimeMs, durationMs, failed }, this.#onPair);
      return;
    }
    const canary = { at: endTimeMs, durationMs, failed, cold: this.#coldStarts.isCold(agentId) };
    this.#leak.observe(agentId, execution.memoryAfterBytes, execution.heapAfterCollectionBytes);
    if (this.#mostlyFails !== undefined) {
      this.#unopposed++;
      this.#passed.add(knownTime(canary));
      this.#mostlyFails.observe(failed, knownTime(canary));
    } else if (++this.#sinceControl < aloneAfter || this.#baselineFailures === undefined) {
      this.#pairing?.addCanary(canary, this.#onPair);
    } else {
      for (const waiting of this.#pairing?.takeWaiting() ?? []) this.#compareWithBaseline(waiting);
      this.#compareWithBaseline(canary);
    }
  }

  readonly #onPair = (canary: Timed, control: Outcome): void => {
    const at = knownTime(canary);
    this.#passed.add(at);
    this.#pairedFailures?.observe(canary.failed, control.failed, at);
    if (canary.cold || canary.failed || control.failed) return;
    this.#pairedSlower?.observe(canary.durationMs, control.durationMs, at);
  };

  #compareWithBaseline(canary: Timed): void {
    const { durationMs, failed, cold = false } = canary;
    const at = knownTime(canary);
    this.#passed.add(at);
    if (!failed && !cold) this.#baselineSlower?.observe(durationMs, at);
    this.#baselineFailures?.observe(failed, at);
  }

  /** The first that is bad, failures before slowness: what fails early is fast, what fails by its time limit is slow. */
  finding(): Finding | undefined {
    const control = this.#controlVersion;
    const base = this.#baseVersion;
    if (this.#pairedFailures?.isWorse) {
      const { shares, eValue, compared } = this.#pairedFailures;
      return failingFinding(shares, eValue, control, `${compared} pairs of executions`);
    }
    if (this.#baselineFailures?.isWorse) {
      const { shares, eValue, compared } = this.#baselineFailures;
      return failingFinding(shares, eValue, base, `${compared} executions beside its earlier ones`);
    }
    if (this.#mostlyFails?.isWorse) return mostlyFailsFinding(this.#mostlyFails.share, this.#mostlyFails.eValue);
    if (this.#pairedSlower?.isWorse) {
      const { eValue, compared } = this.#pairedSlower;
      return slowerFinding(this.#pairedSlower.ratio(), eValue, control, `${compared} pairs of executions`);
    }
    if (this.#baselineSlower?.isWorse) {
      const { eValue, compared } = this.#baselineSlower;
      return slowerFinding(
        this.#baselineSlower.ratio(),
        eValue,
        base,
        `${compared} executions beside its earlier ones`,
      );
    }
    return this.#leak.isWorse ? leakFinding(this.#leak.finding!) : undefined;
  }

  /** What is to be said when nothing is bad. */
  standing(): Finding {
    const slower = moreOf(this.#pairedSlower, this.#baselineSlower);
    const failures = moreOf(this.#pairedFailures, this.#baselineFailures);
    const asked = [slower, failures, this.#mostlyFails].filter((question) => question !== undefined);
    const against = failures === this.#baselineFailures ? this.#baseVersion : this.#controlVersion;
    const leak = this.#leak.finding;
    const ratio = slower?.ratio();
    const isTimed = ratio !== undefined && !Number.isNaN(ratio.median);
    const shares = failures?.shares ?? (this.#mostlyFails && { share: this.#mostlyFails.share });
    const isCounted = shares !== undefined && !Number.isNaN(shares.share);
    const evidence = {
      eValue: Math.max(1, ...asked.map(({ eValue }) => eValue)),
      ...(isTimed && ratioEvidence(ratio)),
      ...(isCounted && { failureShare: shares.share }),
      ...(isCounted && "controlShare" in shares && { controlFailureShare: shares.controlShare }),
      ...(leak && { memorySlopeBytes: leak.slopeBytes, trendPValue: leak.pValue }),
    };
    const count = this.compared;
    if (count < enough || !isCounted) {
      const been = count === 1 ? "1 execution has been" : `${count} executions have been`;
      const of = count < enough ? ` of ${enough}` : ", all of the same moment";
      return { kind: VerdictKind.UNDECIDED, evidence, because: `is not judged yet: ${been} compared${of}` };
    }
    const failed = `failed ${percent(shares.share)} of its newest executions`;
    const versus = failures ? ` (version ${against} ${percent(failures.shares.controlShare)})` : "";
    const speed = isTimed ? ` and takes ${ratioText(ratio)} as long as version ${against}` : "";
    const because = `${failed}${versus}${speed}: nothing is the matter in ${count} executions`;
    return { kind: VerdictKind.HEALTHY, evidence, because };
  }

  toJSON(): QuestionsState {
    return {
      sinceControl: this.#sinceControl,
      unopposed: this.#unopposed,
      now: this.#now,
      coldStarts: this.#coldStarts.toJSON(),
      passed: this.#passed.toJSON(),
      ...(this.#pairing && { pairing: this.#pairing.toJSON() }),
      ...(this.#pairedSlower && { pairedSlower: this.#pairedSlower.toJSON() }),
      ...(this.#pairedFailures && { pairedFailures: this.#pairedFailures.toJSON() }),
      ...(this.#baselineSlower && { baselineSlower: this.#baselineSlower.toJSON() }),
      ...(this.#baselineFailures && { baselineFailures: this.#baselineFailures.toJSON() }),
      ...(this.#mostlyFails && { mostlyFails: this.#mostlyFails.toJSON() }),
      leak: this.#leak.toJSON(),
    };
  }
}

/** None was told when nobody ever told one. */
const knownTime = ({ at }: Timed): number | undefined => (at > 0 ? at : undefined);

/** That which has compared more; undefined if none has compared anything. */
function moreOf<A extends { compared: number }, B extends { compared: number }>(
  a: A | undefined,
  b: B | undefined,
): A | B | undefined {
  const most = (a?.compared ?? 0) >= (b?.compared ?? 0) ? a : b;
  return most !== undefined && most.compared > 0 ? most : undefined;
}
