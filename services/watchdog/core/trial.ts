import type { VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import type { Evidence, Finding } from "./finding.ts";
import { Questions, type QuestionsState } from "./questions.ts";

/** One execution, in the order in which they became known. */
export interface Observation {
  /** Memory is a matter of one process: its series is kept by agent. */
  readonly agentId: string;
  readonly durationMs: number;
  /** Milliseconds since 1970, by which partners are found; absent: as late as the latest before it. */
  readonly endTimeMs?: number | undefined;
  /** The agent's fault. */
  readonly failed: boolean;
  /** Bytes; 0: unknown. */
  readonly memoryAfterBytes: number;
  /** Bytes in use after the last major collection; 0: unknown. */
  readonly heapAfterCollectionBytes: number;
}

export type Side = "canary" | "control";

/** What an earlier version did, frozen before the first execution of the canary that is compared with it. */
export interface Baseline {
  readonly version: string;
  /** Of executions that did not fail. */
  readonly durationsMs: readonly number[];
  readonly executions: number;
  readonly failures: number;
}

export interface TrialOptions {
  /** The version that runs beside it; absent: none does. */
  readonly controlVersion?: string;
  /** Without it, executions that find no partner are compared with nothing. */
  readonly baseline?: Baseline;
  /** The probability of a false alarm that this trial may use up, divided over its questions. Default 0.001. */
  readonly alpha?: number;
  /** Any whole number; ties of ranks are broken by a generator that begins with it. Default 1. */
  readonly seed?: number;
}

export interface TrialVerdict {
  /** UNDECIDED until 20 executions were compared. A bad one stays for the rest of the trial. */
  readonly kind: VerdictKind;
  readonly evidence: Evidence;
  /** Ends a sentence that begins with who is judged: "Version 2 of greeter <because>." */
  readonly because: string;
  /** Executions of the canary that were seen. */
  readonly executions: number;
  readonly controlExecutions: number;
  /**
   * Executions of the canary that were compared (with one of the control, or with the baseline) without a bad verdict, of a quarter of a
   * second four at most; all of them if there is nothing to compare with. What a policy counts that waits for "enough executions".
   * 0 after a bad verdict.
   */
  readonly passed: number;
}

/** Survives `JSON.stringify` and `JSON.parse`. 10 to 30 KB, with the memory of 16 agents 20 KB more. */
export interface TrialState {
  readonly options: TrialOptions;
  readonly executions: number;
  readonly controlExecutions: number;
  readonly questions: QuestionsState;
  readonly found?: Finding & { readonly samples: number; readonly controlSamples: number };
}

/** The k-th capability's share (k = 1, 2, …, in order of appearance) of a rollout's alpha; all of them sum to alpha at most. */
export function capabilityAlpha(alpha: number, k: number): number {
  return (6 * alpha) / (Math.PI * k) ** 2;
}

/**
 * Judges the canary of one name and capability. Feed it every execution of both sides, once. The probability that a canary which
 * is no worse ever gets a bad verdict is alpha at most, however often it is looked at: each question has an equal part of it.
 */
export class VersionTrial {
  readonly #options: TrialOptions;
  readonly #questions: Questions;
  #executions: number;
  #controlExecutions: number;
  #found: TrialState["found"];

  constructor(options: TrialOptions, state?: TrialState) {
    this.#options = options;
    this.#questions = new Questions(options, state?.questions);
    this.#executions = state?.executions ?? 0;
    this.#controlExecutions = state?.controlExecutions ?? 0;
    this.#found = state?.found;
  }

  static from(state: TrialState): VersionTrial {
    return new VersionTrial(state.options, state);
  }

  observe(side: Side, execution: Observation): void {
    if (side === "canary") this.#executions++;
    else this.#controlExecutions++;
    if (this.#found !== undefined) return;
    this.#questions.observe(side, execution);
    const finding = this.#questions.finding();
    if (finding === undefined) return;
    this.#found = { ...finding, samples: this.#executions, controlSamples: this.#controlSamples() };
  }

  /** Whether the verdict is a bad one. */
  get isBad(): boolean {
    return this.#found !== undefined;
  }

  verdict(): TrialVerdict {
    const { kind, because, evidence } = this.#found ?? this.#questions.standing();
    const against = this.#options.controlVersion ?? this.#options.baseline?.version;
    return {
      kind,
      because,
      evidence: {
        ...evidence,
        samples: BigInt(this.#found?.samples ?? this.#executions),
        ...(against !== undefined && {
          controlVersion: against,
          controlSamples: BigInt(this.#found?.controlSamples ?? this.#controlSamples()),
        }),
      },
      executions: this.#executions,
      controlExecutions: this.#controlExecutions,
      passed: this.#found === undefined ? this.#questions.passed : 0,
    };
  }

  #controlSamples(): number {
    return this.#controlExecutions + (this.#options.baseline?.executions ?? 0);
  }

  toJSON(): TrialState {
    return {
      options: this.#options,
      executions: this.#executions,
      controlExecutions: this.#controlExecutions,
      questions: this.#questions.toJSON(),
      ...(this.#found && { found: this.#found }),
    };
  }
}
