import { bucketKey } from "#libs/limits/bucket-key.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";

/** One bucket of a limit on a rate, and what a task takes from it. */
export interface RateBucket {
  readonly limit: Limit;
  readonly key: string;
  /** At least 1. */
  readonly cost: bigint;
}

export interface SlotBucket {
  readonly limit: Limit;
  readonly key: string;
}

/** What counts a task: by rate, where it costs anything in the limit's unit; and by concurrency. */
export function bucketsOf(
  applying: readonly Limit[],
  task: TaskSpec,
): { readonly rates: RateBucket[]; readonly slots: SlotBucket[] } {
  const rates: RateBucket[] = [];
  const slots: SlotBucket[] = [];
  for (const limit of applying) {
    if (limit.kind.case === "concurrency") {
      slots.push({ limit, key: bucketKey(limit.per, task) });
      continue;
    }
    const cost = costIn(limit.unit, task);
    if (cost > 0n) rates.push({ limit, key: bucketKey(limit.per, task), cost });
  }
  return { rates, slots };
}

/** A task costs 1 task unless it says otherwise, and nothing in other units. Of two costs in one unit the last counts. */
export function costIn(unit: string, { costs }: Pick<TaskSpec, "costs">): bigint {
  return costs.findLast((cost) => cost.unit === unit)?.amount ?? (unit === "" ? 1n : 0n);
}

/** The most that a limit ever admits at once. */
export function capacityOf({ kind }: Limit): bigint {
  switch (kind.case) {
    case "tokenBucket":
      return kind.value.burst || kind.value.tokens;
    case "slidingWindow":
      return kind.value.count;
    case "concurrency":
      return kind.value.max;
    case undefined:
      return 0n;
    default:
      throw kind satisfies never;
  }
}

/** How long a limit on a rate takes to admit one unit more, milliseconds; 0 for other kinds. */
export function unitIntervalMs({ kind }: Limit): number {
  switch (kind.case) {
    case "tokenBucket":
      return millis(kind.value.period) / Number(kind.value.tokens);
    case "slidingWindow":
      return millis(kind.value.window) / Number(kind.value.count);
    case "concurrency":
    case undefined:
      return 0;
    default:
      throw kind satisfies never;
  }
}

function millis(duration: { seconds: bigint; nanos: number } | undefined): number {
  return duration === undefined ? 0 : Number(duration.seconds) * 1_000 + duration.nanos / 1_000_000;
}
