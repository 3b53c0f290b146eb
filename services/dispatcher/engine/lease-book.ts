import { create, fromBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Clock } from "#libs/clock/clock.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { TaskSpecSchema } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { AssignmentSchema, type Assignment } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { maxAttempts } from "../core/after-attempt.ts";
import type { Matcher } from "../core/matcher.ts";
import type { LiveRoute } from "./route-table.ts";
import { overdueName, taskName, type HomeSession, type Lease } from "./session.ts";

export interface LeaseFacts {
  readonly taskKey: number;
  readonly segment: number;
  readonly attempt: number;
  readonly rank: number;
  readonly submitter: number;
  readonly route: LiveRoute;
  /** How long it is leased already, milliseconds. */
  readonly ageMs: number;
  readonly submitTimeMs?: number;
  readonly cancelReason?: string | undefined;
}

/** The leases of this instance's sessions: opens them, closes them, watches their execution timeouts. */
export class LeaseBook {
  readonly #matcher: Matcher<HomeSession>;
  readonly #clock: Clock;
  readonly #byKey = new Map<number, Lease>();
  /** Called when an attempt has run for too long. */
  onTimeout: (lease: Lease) => void = () => {};
  /** Called when a session has a free slot again. */
  onFreed: (session: HomeSession) => void = () => {};

  constructor(matcher: Matcher<HomeSession>, clock: Clock) {
    this.#matcher = matcher;
    this.#clock = clock;
  }

  get size(): number {
    return this.#byKey.size;
  }

  byKey(taskKey: number): Lease | undefined {
    return this.#byKey.get(taskKey);
  }

  /** Enters a lease whose slot is taken already. */
  open(session: HomeSession, spec: TaskSpec, facts: LeaseFacts): Lease {
    const executionTimeoutMs = spec.executionTimeout && durationMs(spec.executionTimeout);
    const lease: Lease = {
      taskKey: facts.taskKey,
      segment: facts.segment,
      attempt: facts.attempt,
      session,
      route: facts.route,
      rank: facts.rank,
      taskId: spec.taskId,
      taskName: taskName(spec.namespace, spec.taskId),
      submitter: facts.submitter,
      retryPolicy: spec.retryPolicy,
      executionTimeoutMs,
      traceparent: spec.traceparent,
      tracestate: spec.tracestate,
      startedMs: this.#clock.monotonic() - facts.ageMs,
      submitTimeMs: facts.submitTimeMs,
      cancelReason: facts.cancelReason,
      timer: undefined,
    };
    session.leases.set(lease.taskId, lease);
    this.#byKey.set(lease.taskKey, lease);
    if (executionTimeoutMs !== undefined) {
      const leftMs = Math.max(0, executionTimeoutMs - facts.ageMs);
      lease.timer = this.#clock.setTimer(() => this.onTimeout(lease), leftMs);
    }
    return lease;
  }

  /** The attempt is answered: its slot is free. */
  close(lease: Lease): void {
    this.#forget(lease);
    this.#free(lease);
  }

  /** The attempt is over for the mesh, but its agent has not let go of it yet. */
  moveToOverdue(lease: Lease): void {
    this.#forget(lease);
    lease.session.overdue.set(overdueName(lease.taskId, lease.attempt), lease);
  }

  /** The agent has answered an attempt that was over. */
  closeOverdue(session: HomeSession, taskId: string, attempt: number): boolean {
    const name = overdueName(taskId, attempt);
    const lease = session.overdue.get(name);
    if (lease === undefined) return false;
    session.overdue.delete(name);
    this.#free(lease);
    return true;
  }

  /** Takes all leases of a session out of the book, for whoever resolves them. */
  closeSession(session: HomeSession): Lease[] {
    const leases = [...session.leases.values()];
    for (const lease of leases) this.#forget(lease);
    session.overdue.clear();
    return leases;
  }

  #forget(lease: Lease): void {
    lease.timer?.[Symbol.dispose]();
    if (lease.session.leases.get(lease.taskId) === lease) lease.session.leases.delete(lease.taskId);
    if (this.#byKey.get(lease.taskKey) === lease) this.#byKey.delete(lease.taskKey);
  }

  #free(lease: Lease): void {
    this.#matcher.release(lease.session, lease.route.capability);
    if (lease.session.open) this.onFreed(lease.session);
  }
}

/** What the agent is sent. */
export function assignmentFor(
  lease: Lease,
  spec: TaskSpec,
  trace: { traceparent: string; tracestate: string },
): Assignment {
  const assignment = create(AssignmentSchema);
  assignment.taskId = lease.taskId;
  assignment.attempt = lease.attempt;
  assignment.capability = spec.capability;
  if (spec.taskData) assignment.taskData = spec.taskData;
  assignment.traceparent = trace.traceparent;
  assignment.tracestate = trace.tracestate;
  if (spec.executionTimeout) assignment.executionTimeout = spec.executionTimeout;
  assignment.maxAttempts = maxAttempts(spec.retryPolicy);
  assignment.user = spec.user;
  assignment.labels = spec.labels;
  return assignment;
}

export function decodeSpec(spec: Uint8Array): TaskSpec {
  return fromBinary(TaskSpecSchema, spec);
}
