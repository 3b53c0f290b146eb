import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Failed } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import type { RetryPolicy } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";

/** What a failed attempt leads to. */
export type Next =
  { readonly kind: "retry"; readonly delayMs: number } | { readonly kind: "failed" } | { readonly kind: "dead" };

export const defaultMaxAttempts = 3;
const longestDelayMs = 86_400_000;

export function maxAttempts(policy: RetryPolicy | undefined): number {
  return policy?.maxAttempts || defaultMaxAttempts;
}

/**
 * Decides what follows a failed attempt. The n-th retry waits initial · factor^(n−1), at most the maximum, less up to a
 * quarter by chance; an agent's `retry_delay` is kept to as the least.
 * @param attempt the attempt that failed, from 1.
 * @param random 0 to 1.
 */
export function afterFailure(
  failure: Pick<Failed, "retryable" | "retryDelay">,
  attempt: number,
  policy: RetryPolicy | undefined,
  random: number,
): Next {
  if (!failure.retryable) return { kind: "failed" };
  if (attempt >= maxAttempts(policy)) return { kind: "dead" };
  const initialMs = policy?.initialDelay ? durationMs(policy.initialDelay) : 1_000;
  const maxMs = policy?.maxDelay ? durationMs(policy.maxDelay) : 60_000;
  const factor = policy?.factor || 2;
  const backoffMs = Math.min(maxMs, initialMs * factor ** (attempt - 1)) * (1 - random / 4);
  const askedMs = failure.retryDelay ? durationMs(failure.retryDelay) : 0;
  return { kind: "retry", delayMs: Math.min(longestDelayMs, Math.max(backoffMs, askedMs)) };
}

/** What follows an attempt whose session is gone: it may have done no harm, so it does not rest first. */
export function afterLoss(attempt: number, policy: RetryPolicy | undefined): Next {
  return attempt >= maxAttempts(policy) ? { kind: "dead" } : { kind: "retry", delayMs: 0 };
}
