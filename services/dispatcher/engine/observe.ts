import type { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Metrics } from "#libs/telemetry/metrics.ts";
import type { Matcher } from "../core/matcher.ts";
import { stateName } from "../core/task-state.ts";
import type { Ending } from "./ending.ts";
import type { LeaseBook } from "./lease-book.ts";
import type { HomeSession } from "./session.ts";

/** The Dispatcher's own instruments. */
export function observeEngine(parts: {
  metrics: Metrics;
  matcher: Matcher<HomeSession>;
  leases: LeaseBook;
  capabilityLabel: (capability: string) => string;
}) {
  const { metrics, matcher, leases, capabilityLabel } = parts;
  const timeToStart = metrics.durationHistogram("time_to_start_seconds", "From a task's submission to its lease", {
    labels: ["capability"],
  });
  const duration = metrics.durationHistogram("execution_seconds", "From an attempt's lease to its recorded outcome", {
    labels: ["capability", "state"],
  });
  const tasks = metrics.counter("tasks_ended_total", "Tasks that this Dispatcher recorded the outcome of", [
    "capability",
    "state",
  ]);
  metrics.observableGauge("slots", "Slots of the sessions at home here, by whether they are free", () => {
    const { slots, taken } = matcher.totals();
    return [
      [taken, { state: "taken" }],
      [Math.max(0, slots - taken), { state: "free" }],
    ];
  });
  metrics.observableGauge("leases", "Attempts held by the sessions at home here", () => leases.size);
  return {
    timeToStart,
    ended(ending: Ending, state: TaskState) {
      const labels = { capability: capabilityLabel(ending.route.capability), state: stateName(state) };
      tasks.add(1, labels);
      if (ending.startedMs !== undefined) duration.recordMs(performance.now() - ending.startedMs, labels);
    },
  };
}
