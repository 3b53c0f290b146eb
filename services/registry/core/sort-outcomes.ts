import type { AttemptOutcome, OutcomeRejection } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { type Attempt, type Attempts, isDelivered, type Ref } from "./attempts.ts";
import { checkOutcome, cut, failedOutcome } from "./check-outcome.ts";

export interface SortedOutcomes {
  /** To be recorded. */
  readonly fresh: AttemptOutcome[];
  /** What they answer, in their order. */
  readonly attempts: Attempt[];
  /** What the agent is told about the others. */
  readonly rejections: OutcomeRejection[];
}

const maxTaskIdBytes = 256;
const unknownAttempt = "The session was not given this attempt, or its outcome was dealt with before.";

/** Tells the answers that count from those that do not, and marks what they answer. */
export function sortOutcomes(
  held: Attempts,
  outcomes: readonly AttemptOutcome[],
  maxResultBytes: number,
): SortedOutcomes {
  const sorted: SortedOutcomes = { fresh: [], attempts: [], rejections: [] };
  for (const answer of outcomes) {
    const attempt = held.find(answer);
    if (attempt === undefined || !isDelivered(attempt)) {
      sorted.rejections.push(rejectionOf(answer, "UNKNOWN_ATTEMPT", unknownAttempt));
      continue;
    }
    // Said again after the stream broke, or twice: the first one counts, and is on its way.
    if (attempt.answered) continue;
    const failure = checkOutcome(answer, maxResultBytes);
    if (failure !== undefined) {
      answer.outcome = failedOutcome(failure);
      if (failure.code === "INVALID_OUTCOME")
        sorted.rejections.push(rejectionOf(answer, failure.code, failure.message));
    }
    held.answer(attempt);
    sorted.attempts.push(attempt);
    sorted.fresh.push(answer);
  }
  return sorted;
}

function rejectionOf({ taskId, attempt }: Ref, reason: string, message: string): OutcomeRejection {
  const known = { taskId: cut(taskId, maxTaskIdBytes), attempt, reason, message };
  return { $typeName: "legion.registry.v1.OutcomeRejection", ...known };
}
