import type { Clock } from "#libs/clock/clock.ts";
import { attribute } from "#libs/telemetry/attributes.ts";
import { isTracing, recordSpan, SpanKind } from "#libs/telemetry/task-spans.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Decision } from "../core/outcomes.ts";
import type { Ending } from "./ending.ts";
import type { Lease } from "./session.ts";
import { taskAttributes } from "./spans.ts";

// Since when a task that was put back waits: no row says. What another Dispatcher put back counts from its submission.
const putBackMs = new Map<string, number>();
const mostPutBack = 10_000;

/** The spans of a task's way to its agent. @returns the context that its execution is a child of. */
export function traceAssignment(
  lease: Lease,
  spec: TaskSpec,
  { waitedSinceMs, clock }: { waitedSinceMs: number; clock: Clock },
): { traceparent: string; tracestate: string } {
  if (!isTracing()) return lease;
  const nowMs = clock.now();
  const sinceMs = putBackMs.get(lease.taskName) ?? waitedSinceMs;
  putBackMs.delete(lease.taskName);
  const { agentId, name, version, sessionId } = lease.session;
  recordSpan(`wait ${spec.capability}`, {
    parent: lease,
    attributes: taskAttributes(spec, "create", "wait", { [attribute.attempt]: lease.attempt }),
    startTimeMs: Math.min(sinceMs, nowMs),
    endTimeMs: nowMs,
  });
  return recordSpan(`assign ${spec.capability}`, {
    kind: SpanKind.PRODUCER,
    parent: lease,
    attributes: taskAttributes(spec, "send", "assign", {
      [attribute.attempt]: lease.attempt,
      [attribute.agentId]: agentId,
      [attribute.agentName]: name,
      [attribute.agentVersion]: version,
      [attribute.sessionId]: sessionId,
    }),
    startTimeMs: nowMs,
    endTimeMs: clock.now(),
  });
}

/** The span of an attempt's end: its outcome committed, or the task put back. */
export function traceFinish(
  ending: Ending,
  decision: Decision,
  { startMs, clock }: { startMs: number; clock: Clock },
): void {
  const { traceparent, tracestate } = ending;
  if (!isTracing() || traceparent === undefined) return;
  const nowMs = clock.now();
  if (decision.kind === "again") {
    const [oldest] = putBackMs.keys();
    if (putBackMs.size >= mostPutBack && oldest !== undefined) putBackMs.delete(oldest);
    putBackMs.set(ending.taskName, nowMs);
  }
  const [namespace = "", taskId = ""] = ending.taskName.split("\n");
  const outcome = decision.kind === "final" ? (decision.outcome.kind.case ?? "") : "retry";
  const failure =
    decision.kind === "again"
      ? decision.failure
      : decision.outcome.kind.case === "failed"
        ? decision.outcome.kind.value
        : undefined;
  recordSpan(`finish ${ending.route.capability}`, {
    parent: { traceparent, tracestate },
    attributes: taskAttributes({ namespace, taskId, capability: ending.route.capability }, "settle", "finish", {
      [attribute.attempt]: ending.attempt,
      [attribute.outcome]: outcome,
    }),
    startTimeMs: startMs,
    endTimeMs: nowMs,
    ...(failure && { error: `${failure.code}: ${failure.message}` }),
  });
}
