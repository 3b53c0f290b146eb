import { errorReason, type Reason } from "#libs/rpc/errors.ts";
import type { Counter, Metrics } from "#libs/telemetry/metrics.ts";
import type { AdmissionCallback } from "./admission.ts";

type Result = "accepted" | "repeated" | Reason;

// A rate misses the first increase of a series that has just appeared; these are what alerts look at.
const shownFromTheStart: readonly Result[] = [
  "accepted",
  "repeated",
  "RATE_LIMITED",
  "RATE_LIMIT_UNREACHABLE",
  "DATABASE_UNAVAILABLE",
  "INTERNAL",
];

/** How submissions were answered. Handed on once a second: an addition instead of a label look-up for each task. */
export class SubmissionCounts {
  readonly #counter: Counter<"result">;
  readonly #waiting = new Map<Result, number>();

  constructor(metrics: Metrics) {
    this.#counter = metrics.counter("submissions_total", "Submissions answered: accepted, repeated, or why refused", [
      "result",
    ]);
    for (const result of shownFromTheStart) this.#counter.add(0, { result });
  }

  /** The same callback, and what it is told is counted. */
  counting(callback: AdmissionCallback): AdmissionCallback {
    return (error, accepted) => {
      const result = error !== null ? (errorReason(error) ?? "INTERNAL") : accepted?.created ? "accepted" : "repeated";
      this.#waiting.set(result, (this.#waiting.get(result) ?? 0) + 1);
      callback(error, accepted);
    };
  }

  publish(): void {
    for (const [result, count] of this.#waiting) this.#counter.add(count, { result });
    this.#waiting.clear();
  }
}
