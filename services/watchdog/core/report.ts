import type { Sample } from "./sample.ts";

export interface Report {
  readonly executions: number;
  readonly failures: number;
  /** Of those that did not fail; undefined when there are none. */
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
}

/** What a person wants to know of executions. */
export function report(samples: Iterable<Sample>): Report {
  let failures = 0;
  const durationsMs: number[] = [];
  for (const { failed, durationMs } of samples) {
    if (failed) failures++;
    else durationsMs.push(durationMs);
  }
  durationsMs.sort((a, b) => a - b);
  // The smallest that so large a share does not exceed.
  const quantile = (share: number) => durationsMs[Math.max(0, Math.ceil(share * durationsMs.length) - 1)];
  return { executions: durationsMs.length + failures, failures, p50Ms: quantile(0.5), p95Ms: quantile(0.95) };
}
