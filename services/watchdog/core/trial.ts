import type { MessageInitShape } from "@bufbuild/protobuf";
import { type EvidenceSchema, VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";

/** One execution, in the order in which they became known. */
export interface Observation {
  /** Memory is a matter of one process: its series is kept by agent. */
  readonly agentId: string;
  readonly durationMs: number;
  /** The agent's fault. */
  readonly failed: boolean;
  /** Bytes; 0: unknown. */
  readonly memoryAfterBytes: number;
  /** Bytes; 0: unknown. Preferred to the one before for an agent that ever reported it. */
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
  readonly canaryVersion: string;
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
  readonly evidence: MessageInitShape<typeof EvidenceSchema>;
  /** Ends a sentence that begins with who is judged: "Version 2 of greeter <because>." */
  readonly because: string;
  /** Executions of the canary that were seen. */
  readonly executions: number;
  readonly controlExecutions: number;
  /**
   * Executions of the canary that were compared (with one of the control, or with the baseline) without a bad verdict; all of
   * them if there is nothing to compare with. What a policy counts that waits for "enough executions". 0 after a bad verdict.
   */
  readonly passed: number;
}

/** Survives `JSON.stringify` and `JSON.parse`. */
export interface TrialState {
  readonly options: TrialOptions;
  readonly executions: number;
  readonly controlExecutions: number;
}

/** The k-th capability's share (k = 1, 2, …, in order of appearance) of a rollout's alpha; all of them sum to alpha at most. */
export function capabilityAlpha(alpha: number, k: number): number {
  return (6 * alpha) / (Math.PI * k) ** 2;
}

/** Judges the canary of one name and capability. Feed it every execution of both sides, once. */
export class VersionTrial {
  readonly #options: TrialOptions;
  #executions = 0;
  #controlExecutions = 0;

  constructor(options: TrialOptions) {
    this.#options = options;
  }

  static from(state: TrialState): VersionTrial {
    const trial = new VersionTrial(state.options);
    trial.#executions = state.executions;
    trial.#controlExecutions = state.controlExecutions;
    return trial;
  }

  observe(side: Side, _execution: Observation): void {
    if (side === "canary") this.#executions++;
    else this.#controlExecutions++;
  }

  /** Whether the verdict is a bad one. Cheap: may be asked after every execution. */
  get isBad(): boolean {
    return false;
  }

  verdict(): TrialVerdict {
    return {
      kind: VerdictKind.UNDECIDED,
      evidence: { samples: BigInt(this.#executions), controlSamples: BigInt(this.#controlExecutions) },
      because: "has not been compared yet",
      executions: this.#executions,
      controlExecutions: this.#controlExecutions,
      passed: 0,
    };
  }

  toJSON(): TrialState {
    return {
      options: this.#options,
      executions: this.#executions,
      controlExecutions: this.#controlExecutions,
    };
  }
}
