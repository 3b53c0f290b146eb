import type { Metrics } from "#libs/telemetry/metrics.ts";
import type { LimitsCache } from "./limits-cache.ts";

/** What RateLimit measures. No label has a limit's name, a key or a tenant: those are as many as callers choose. */
export interface Counts {
  acquisitions(allowed: number, refused: number): void;
  batch(acquisitions: number, replanned: number): void;
  settled(count: number): void;
  leasedTokens(granted: number): void;
  cleaned(what: "buckets" | "leases" | "reservations", count: number): void;
}

export function createCounts(metrics: Metrics, limits: LimitsCache): Counts {
  const acquisitions = metrics.counter("acquisitions_total", "Acquisitions decided", ["result"]);
  const batch = metrics.histogram("batch_acquisitions", "Acquisitions decided by one statement", {
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000],
  });
  const replanned = metrics.counter(
    "replans_total",
    "Batches planned anew because the limits had changed or a race was lost",
  );
  const settled = metrics.counter("settled_total", "Reservations settled");
  const leased = metrics.counter("leased_tokens_total", "Tokens granted in leases");
  const cleaned = metrics.counter("cleaned_rows_total", "Rows that were no longer needed", ["table"]);
  metrics.observableGauge("limits", "Limits in force", () => limits.current.size);
  // Shown from the start: a rate misses the first increase of a series that has just appeared.
  for (const result of ["allowed", "refused"]) acquisitions.add(0, { result });
  for (const table of ["buckets", "leases", "reservations"]) cleaned.add(0, { table });
  return {
    acquisitions(allowed, refused) {
      if (allowed > 0) acquisitions.add(allowed, { result: "allowed" });
      if (refused > 0) acquisitions.add(refused, { result: "refused" });
    },
    batch(count, again) {
      batch.record(count);
      if (again > 0) replanned.add(again);
    },
    settled: (count) => settled.add(count),
    leasedTokens: (granted) => leased.add(granted),
    cleaned: (table, count) => {
      if (count > 0) cleaned.add(count, { table });
    },
  };
}
