import { create } from "@bufbuild/protobuf";
import { FailedSchema, OutcomeSchema, type Failed, type Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { afterFailure, afterLoss } from "./after-attempt.ts";
import type { RetryPolicy } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";

/** What an attempt that is over means for its task. */
export type Decision =
  | { readonly kind: "final"; readonly state: TaskState; readonly outcome: Outcome }
  | {
      readonly kind: "again";
      readonly attempts: number;
      readonly delayMs: number;
      readonly failure: Failed | undefined;
    };

export interface AttemptFacts {
  readonly attempt: number;
  readonly retryPolicy: RetryPolicy | undefined;
  /** Set if somebody asked for the task to be canceled. */
  readonly cancelReason: string | undefined;
}

/** Of an attempt whose agent was lost. */
export const lostCode = "AGENT_LOST";
/** Of one that ran for too long. */
export const timeoutCode = "EXECUTION_TIMEOUT";

const longestCode = 128;
const longestMessage = 16 * 1024;
const longestReason = 1024;

/** Decides by what the agent answered. */
export function decideOutcome(facts: AttemptFacts, outcome: Outcome, random: number): Decision {
  const { kind } = outcome;
  switch (kind.case) {
    case "completed":
      return { kind: "final", state: TaskState.COMPLETED, outcome };
    case "canceled":
      if (facts.cancelReason === undefined) {
        return decideFailure(facts, agentCanceled(kind.value.reason), random);
      }
      return canceled(facts.cancelReason);
    case "failed":
      if (facts.cancelReason !== undefined) return canceled(facts.cancelReason);
      return decideFailure(facts, cut(kind.value), random);
    case undefined:
      return decideFailure(
        facts,
        failed("INVALID_OUTCOME", "The agent's outcome says neither completed nor failed nor canceled.", false),
        random,
      );
    default:
      throw kind satisfies never;
  }
}

/** Decides by a failure that the mesh itself found, such as a timeout. */
export function decideFailure(facts: AttemptFacts, failure: Failed, random: number): Decision {
  if (facts.cancelReason !== undefined) return canceled(facts.cancelReason);
  const next = afterFailure(failure, facts.attempt, facts.retryPolicy, random);
  switch (next.kind) {
    case "retry":
      return { kind: "again", attempts: facts.attempt, delayMs: next.delayMs, failure };
    case "failed":
      return { kind: "final", state: TaskState.FAILED, outcome: failureOutcome(failure) };
    case "dead":
      return { kind: "final", state: TaskState.DEAD, outcome: failureOutcome(failure) };
    default:
      throw next satisfies never;
  }
}

/** Decides for an attempt that its agent had received and did not answer before its session ended. */
export function decideLoss(facts: AttemptFacts, why: string): Decision {
  if (facts.cancelReason !== undefined) return canceled(facts.cancelReason);
  const failure = failed(lostCode, `The agent's session ended before it answered: ${why}.`, true);
  const next = afterLoss(facts.attempt, facts.retryPolicy);
  if (next.kind === "dead") return { kind: "final", state: TaskState.DEAD, outcome: failureOutcome(failure) };
  return { kind: "again", attempts: facts.attempt, delayMs: 0, failure };
}

/** Decides for an attempt that never reached its agent: it does not count. */
export function decideUnreceived(facts: AttemptFacts): Decision {
  if (facts.cancelReason !== undefined) return canceled(facts.cancelReason);
  return { kind: "again", attempts: facts.attempt - 1, delayMs: 0, failure: undefined };
}

export function failed(code: string, message: string, retryable: boolean): Failed {
  return create(FailedSchema, { code, message, retryable });
}

export function canceledOutcome(reason: string): Outcome {
  return create(OutcomeSchema, { kind: { case: "canceled", value: { reason: reason.slice(0, longestReason) } } });
}

export function timedOut(timeoutMs: number): Failed {
  return failed(timeoutCode, `The attempt ran for longer than its execution timeout of ${timeoutMs} ms.`, true);
}

function agentCanceled(reason: string): Failed {
  const said = reason === "" ? "" : `: ${reason.slice(0, longestReason)}`;
  return failed("CANCELED_BY_AGENT", `The agent stopped the attempt though nobody had asked for that${said}.`, true);
}

/** Decides for a task whose attempt ended in any way but success after somebody had asked for it to be canceled. */
export function canceled(reason: string): Decision {
  return { kind: "final", state: TaskState.CANCELED, outcome: canceledOutcome(reason) };
}

export function failureOutcome(failure: Failed): Outcome {
  return create(OutcomeSchema, { kind: { case: "failed", value: failure } });
}

function cut(failure: Failed): Failed {
  failure.code = failure.code.slice(0, longestCode) || "ERROR";
  failure.message = failure.message.slice(0, longestMessage);
  return failure;
}
