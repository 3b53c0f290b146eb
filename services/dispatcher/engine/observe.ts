import type { Clock } from "#libs/clock/clock.ts";
import type { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { latencyBuckets, type Metrics } from "#libs/telemetry/metrics.ts";
import type { Matcher } from "../core/matcher.ts";
import { type Decision, lostCode, timeoutCode } from "../core/outcomes.ts";
import { stateName } from "../core/task-state.ts";
import type { Ending } from "./ending.ts";
import type { LeaseBook } from "./lease-book.ts";
import type { HomeSession } from "./session.ts";

/** The Dispatcher's own instruments. */
export function observeEngine(parts: {
  clock: Clock;
  metrics: Metrics;
  matcher: Matcher<HomeSession>;
  leases: LeaseBook;
  capabilityLabel: (capability: string) => string;
}) {
  const { clock, metrics, matcher, leases, capabilityLabel } = parts;
  const timeToStart = metrics.durationHistogram("time_to_start_seconds", "From a task's submission to its lease", {
    labels: ["capability"],
  });
  const duration = metrics.durationHistogram("execution_seconds", "From an attempt's lease to its recorded outcome", {
    labels: ["capability", "state"],
  });
  const whole = metrics.durationHistogram("task_seconds", "From a task's submission to its recorded outcome", {
    buckets: [...latencyBuckets, 300, 1_800, 7_200],
    labels: ["capability", "state"],
  });
  const requeued = metrics.counter("tasks_requeued_total", "Attempts after which their task waits again, by cause", [
    "capability",
    "cause",
  ]);
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
  metrics.observableGauge(
    "capability_sessions",
    "Sessions at home here that offer a capability and take work",
    function* () {
      const sums = new Map<string, number>();
      for (const [capability, sessions] of matcher.sessionsByCapability()) {
        const label = capabilityLabel(capability);
        sums.set(label, (sums.get(label) ?? 0) + sessions);
      }
      for (const [capability, sessions] of sums) yield [sessions, { capability }] as const;
    },
  );
  const shown = new Set<string>();
  // A rate misses the first increase of a series that has just appeared: what goes wrong is shown before it does.
  const show = (capability: string): void => {
    if (shown.has(capability)) return;
    shown.add(capability);
    for (const state of ["COMPLETED", "FAILED", "DEAD", "CANCELED"]) tasks.add(0, { capability, state });
    for (const cause of ["failed", "timed_out", "lost", "returned"]) requeued.add(0, { capability, cause });
  };
  return {
    started(capability: string, submitTimeMs: number) {
      const label = capabilityLabel(capability);
      show(label);
      timeToStart.recordMs(Math.max(0, clock.now() - submitTimeMs), { capability: label });
    },
    again({ route }: Ending, { failure }: Extract<Decision, { kind: "again" }>) {
      requeued.add(1, { capability: capabilityLabel(route.capability), cause: causeOf(failure?.code) });
    },
    ended(ending: Ending, state: TaskState) {
      const labels = { capability: capabilityLabel(ending.route.capability), state: stateName(state) };
      tasks.add(1, labels);
      if (ending.submitTimeMs !== undefined) whole.recordMs(Math.max(0, clock.now() - ending.submitTimeMs), labels);
      if (ending.startedMs !== undefined) duration.recordMs(performance.now() - ending.startedMs, labels);
    },
  };
}

function causeOf(failureCode: string | undefined): string {
  switch (failureCode) {
    case undefined:
      return "returned";
    case lostCode:
      return "lost";
    case timeoutCode:
      return "timed_out";
    default:
      return "failed";
  }
}
