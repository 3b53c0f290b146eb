import type { Duration } from "@bufbuild/protobuf/wkt";
import type { Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { maxCapacity, tokenRate } from "./gcra.ts";
import type { Rule } from "./rule.ts";
import { windowRule } from "./window.ts";

export interface Refusal {
  /** In proto spelling. */
  readonly field: string;
  readonly refusal: string;
}

/** The rule that a limit means; undefined for one that is not counted here. Ranges of single fields are the contract's to check. */
export function ruleOf(limit: Limit): Rule | undefined | Refusal {
  return namedTwice(limit) ?? unreachable(limit) ?? kindOf(limit);
}

export const isRefusal = (rule: Rule | undefined | Refusal): rule is Refusal => rule !== undefined && "refusal" in rule;

function namedTwice({ per }: Limit): Refusal | undefined {
  const seen = new Set<string>();
  for (const [index, { kind }] of per.entries()) {
    const name = kind.case === "label" ? `the label ${kind.value}` : `${kind.case}`;
    if (seen.has(name)) return { field: `limit.per[${index}]`, refusal: `${name} is named twice: each at most once.` };
    seen.add(name);
  }
  return undefined;
}

function unreachable({ whenUnreachable, safeRatePerSecond }: Limit): Refusal | undefined {
  if (whenUnreachable !== WhenUnreachable.SAFE_CAPACITY || safeRatePerSecond > 0) return undefined;
  const refusal =
    "SAFE_CAPACITY admits safe_rate_per_second at each replica while the arbiter is away: say how many, more than 0.";
  return { field: "limit.safe_rate_per_second", refusal };
}

function kindOf({ kind }: Limit): Rule | undefined | Refusal {
  switch (kind.case) {
    case "tokenBucket":
      return bucketOf(kind.value.tokens, nanoseconds(kind.value.period), kind.value.burst);
    case "slidingWindow": {
      const { count, window } = kind.value;
      if (count > 0n) return windowRule(count, nanoseconds(window));
      const refusal = `A window of 0 would never admit anything: ${instead}`;
      return { field: "limit.sliding_window.count", refusal };
    }
    case "concurrency":
    case undefined:
      return undefined;
    default:
      throw kind satisfies never;
  }
}

const instead = "set a concurrency of 0, or pause the limit.";

function bucketOf(tokens: bigint, periodNs: bigint, burst: bigint): Rule | Refusal {
  if (tokens === 0n) {
    const refusal = `A rate of 0 would never admit anything once the burst is spent: ${instead}`;
    return { field: "limit.token_bucket.tokens", refusal };
  }
  const rate = tokenRate(tokens, periodNs, burst === 0n ? tokens : burst);
  if (rate.capacity <= maxCapacity) return rate;
  const refusal =
    `${tokens} tokens in ${periodNs} ns with a burst of ${burst || tokens} cannot be counted exactly: ` +
    "choose a rounder number of tokens, a shorter period or a smaller burst.";
  return { field: "limit.token_bucket", refusal };
}

function nanoseconds(duration: Duration | undefined): bigint {
  return (duration?.seconds ?? 0n) * 1_000_000_000n + BigInt(duration?.nanos ?? 0);
}
