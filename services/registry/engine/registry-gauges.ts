import type { Metrics } from "#libs/telemetry/metrics.ts";
import type { Dispatchers } from "./dispatchers.ts";
import type { Sessions } from "./sessions.ts";

/** What is looked up when it is asked for. */
export function observeRegistry(metrics: Metrics, sessions: Sessions, dispatchers: Dispatchers): void {
  metrics.observableGauge("sessions", "Sessions held by this Registry, by state", () => {
    const count = { active: 0, draining: 0, suspended: 0 };
    for (const { session } of sessions.all()) {
      if (session.draining) count.draining++;
      else if (session.phase === "suspended") count.suspended++;
      else count.active++;
    }
    return Object.entries(count).map(([state, value]) => [value, { state }] as const);
  });
  metrics.observableGauge("attempts_in_flight", "Attempts that the agents of this Registry hold", () => {
    let attempts = 0;
    for (const { session } of sessions.all()) attempts += session.attempts.unanswered;
    return attempts;
  });
  metrics.observableGauge("links", "Links to Dispatchers, by state", () => [
    [dispatchers.count("up"), { state: "up" }],
    [dispatchers.count("connecting"), { state: "connecting" }],
  ]);
}
