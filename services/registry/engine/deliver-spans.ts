import type { Assignment } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { attribute, messagingSystem } from "#libs/telemetry/attributes.ts";
import { SpanKind, startSpan, type TaskSpan } from "#libs/telemetry/task-spans.ts";
import type { Session } from "../core/session.ts";

const open = new WeakMap<Assignment, TaskSpan>();

/** From here on the execution's parent is the delivery, not the assignment. Only called while there is tracing. */
export function startDeliveries({ id, profile }: Session, assignments: readonly Assignment[]): void {
  for (const assignment of assignments) {
    const { taskId, attempt, capability, traceparent, tracestate } = assignment;
    const span = startSpan(`deliver ${capability}`, {
      kind: SpanKind.PRODUCER,
      parent: { traceparent, tracestate },
      attributes: {
        [attribute.messagingSystem]: messagingSystem,
        [attribute.messagingOperationType]: "send",
        [attribute.messagingOperationName]: "deliver",
        [attribute.messagingDestinationName]: capability,
        [attribute.messagingMessageId]: taskId,
        [attribute.namespace]: profile.namespace,
        [attribute.attempt]: attempt,
        [attribute.agentId]: profile.agentId,
        [attribute.sessionId]: id,
      },
    });
    assignment.traceparent = span.traceparent;
    assignment.tracestate = span.tracestate;
    open.set(assignment, span);
  }
}

/** They are on their way to the agent. */
export function endDeliveries(assignments: readonly Assignment[]): void {
  for (const assignment of assignments) open.get(assignment)?.end();
}
