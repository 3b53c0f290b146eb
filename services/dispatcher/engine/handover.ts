import type { Clock } from "#libs/clock/clock.ts";
import { TaskState, type TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Matcher } from "../core/matcher.ts";
import { decideUnreceived } from "../core/outcomes.ts";
import type { Finisher } from "./finisher.ts";
import { assignmentFor, type LeaseBook } from "./lease-book.ts";
import type { LiveRoute } from "./route-table.ts";
import { taskName, type HomeSession } from "./session.ts";
import { traceAssignment } from "./tracing.ts";
import type { Waiters } from "./waiters.ts";

/** A lease that was just committed. */
export interface NewLease {
  readonly taskKey: number;
  readonly segment: number;
  readonly attempt: number;
  readonly rank: number;
  readonly submitter: number;
  /** When the task was accepted, milliseconds since the epoch. */
  readonly submitTimeMs: number;
}

export interface HandoverParts {
  readonly clock: Clock;
  readonly matcher: Matcher<HomeSession>;
  readonly leases: LeaseBook;
  readonly finisher: Finisher;
  readonly waiters: Waiters;
  /** For the metrics. */
  started(capability: string, submitTimeMs: number): void;
}

/** Sends a task to the agent that it was leased to: the last step before its execution. */
export class Handover {
  readonly #parts: HandoverParts;

  constructor(parts: HandoverParts) {
    this.#parts = parts;
  }

  send(session: HomeSession, spec: TaskSpec, route: LiveRoute, fresh: NewLease): void {
    const { clock, matcher, leases, finisher, waiters } = this.#parts;
    if (!session.open) {
      // It went while the lease was being committed: nobody was sent anything.
      matcher.release(session, route.capability);
      const facts = { attempt: fresh.attempt, retryPolicy: spec.retryPolicy, cancelReason: undefined };
      const name = taskName(spec.namespace, spec.taskId);
      finisher.finish({ ...fresh, session, route, taskName: name }, decideUnreceived(facts));
      return;
    }
    const lease = leases.open(session, spec, { ...fresh, route, ageMs: 0 });
    const trace = traceAssignment(lease, spec, { waitedSinceMs: fresh.submitTimeMs, clock });
    session.outlet.assign(session, assignmentFor(lease, spec, trace));
    this.#parts.started(spec.capability, fresh.submitTimeMs);
    if (waiters.isAwaited(lease.taskName)) {
      waiters.changed(lease.taskName, { state: TaskState.LEASED, attempt: lease.attempt, agentId: session.agentId });
    }
  }
}
