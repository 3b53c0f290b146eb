import type { Sample } from "./sample.ts";

/** What a judgement looks at. */
export interface Executions {
  readonly count: number;
  readonly failures: number;
  /** Those that did not fail: only their durations say how fast the work is. */
  readonly completed: number;
  /** Of the completed ones, milliseconds; undefined when there are none. */
  readonly medianMs: number | undefined;
}

export function summarize(samples: Iterable<Sample>): Executions {
  let failures = 0;
  const durationsMs: number[] = [];
  for (const { failed, durationMs } of samples) {
    if (failed) failures++;
    else durationsMs.push(durationMs);
  }
  const completed = durationsMs.length;
  return { count: completed + failures, failures, completed, medianMs: median(Float64Array.from(durationsMs)) };
}

export function failureShare({ failures, count }: Executions): number {
  return count === 0 ? 0 : failures / count;
}

function median(values: Float64Array): number | undefined {
  if (values.length === 0) return undefined;
  values.sort();
  const upper = values.length >> 1;
  return values.length % 2 === 1 ? values[upper] : (values[upper - 1]! + values[upper]!) / 2;
}
