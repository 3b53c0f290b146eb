import type { Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { maxCapacity, tokenRate, type TokenRate } from "./gcra.ts";

export interface Refusal {
  readonly reason: "INVALID_REQUEST" | "NOT_SUPPORTED";
  /** In proto spelling. */
  readonly field: string;
  readonly message: string;
}

/** The rate that a limit means, or why it cannot be set. Ranges of single fields are the contract's to check. */
export function rateOf(limit: Limit): TokenRate | Refusal {
  return supportOf(limit) ?? dimensionsOf(limit) ?? bucketOf(limit);
}

function supportOf({ kind, whenUnreachable }: Limit): Refusal | undefined {
  if (kind.case === "slidingWindow" || kind.case === "concurrency") {
    const field = kind.case === "concurrency" ? "limit.concurrency" : "limit.sliding_window";
    const name = kind.case === "concurrency" ? "Concurrency limits" : "Sliding windows";
    return {
      reason: "NOT_SUPPORTED",
      field,
      message: `${name} are not enforced by this server yet: use token_bucket.`,
    };
  }
  if (whenUnreachable === WhenUnreachable.SAFE_CAPACITY) {
    const message = "SAFE_CAPACITY is not enforced by this server yet: use FAIL_CLOSED or FAIL_OPEN.";
    return { reason: "NOT_SUPPORTED", field: "limit.when_unreachable", message };
  }
  return undefined;
}

function dimensionsOf({ per }: Limit): Refusal | undefined {
  const seen = new Set<string>();
  for (const [index, { kind }] of per.entries()) {
    const name = kind.case === "label" ? `the label ${kind.value}` : `${kind.case}`;
    if (seen.has(name)) {
      return {
        reason: "INVALID_REQUEST",
        field: `limit.per[${index}]`,
        message: `${name} is named twice: each at most once.`,
      };
    }
    seen.add(name);
  }
  return undefined;
}

function bucketOf({ kind }: Limit): TokenRate | Refusal {
  if (kind.case !== "tokenBucket") throw new Error(`not a kind that is stored: ${kind.case}`);
  const { tokens, period, burst } = kind.value;
  const periodNs = (period?.seconds ?? 0n) * 1_000_000_000n + BigInt(period?.nanos ?? 0);
  const rate = tokenRate(tokens, periodNs, burst === 0n ? tokens : burst);
  if (rate.capacity <= maxCapacity) return rate;
  return {
    reason: "INVALID_REQUEST",
    field: "limit.token_bucket",
    message:
      `${tokens} tokens in ${periodNs} ns with a burst of ${burst || tokens} cannot be counted exactly: ` +
      "choose a rounder number of tokens, a shorter period or a smaller burst.",
  };
}
