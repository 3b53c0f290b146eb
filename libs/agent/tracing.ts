import { context, trace, TraceFlags } from "@opentelemetry/api";
import { attribute, messagingSystem } from "#libs/telemetry/attributes.ts";
import { isTracing, SpanKind, startSpan, type TaskSpan } from "#libs/telemetry/task-spans.ts";
import type { Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import type { Assignment } from "#libs/proto/legion/registry/v1/session_pb.ts";

export interface SpanIdentity {
  readonly namespace: string;
  readonly agentId: string;
  readonly name: string;
  readonly version: string;
}

/** The span of one execution, child of the assignment's; undefined, and free, where nothing records spans. */
export function startExecuteSpan(assignment: Assignment, agent: SpanIdentity): TaskSpan | undefined {
  if (!isTracing()) return undefined;
  return startSpan(`execute ${assignment.capability}`, {
    kind: SpanKind.CONSUMER,
    parent: assignment,
    attributes: {
      [attribute.messagingSystem]: messagingSystem,
      [attribute.messagingOperationType]: "process",
      [attribute.messagingOperationName]: "execute",
      [attribute.messagingDestinationName]: assignment.capability,
      [attribute.messagingMessageId]: assignment.taskId,
      [attribute.messagingMessageBodySize]: assignment.taskData?.data.length ?? 0,
      [attribute.namespace]: agent.namespace,
      [attribute.attempt]: assignment.attempt,
      [attribute.agentId]: agent.agentId,
      [attribute.agentName]: agent.name,
      [attribute.agentVersion]: agent.version,
    },
  });
}

export function endExecuteSpan(span: TaskSpan | undefined, { kind }: Outcome): void {
  if (span === undefined) return;
  span.setAttribute(attribute.outcome, kind.case ?? "");
  if (kind.case === "failed") {
    span.setAttribute(attribute.errorType, kind.value.code);
    span.setAttribute(attribute.retryable, kind.value.retryable);
  }
  span.end();
}

/** Runs `handler` so that spans made by whatever it calls become children of `span`. */
export function runUnder<T>(span: TaskSpan, handler: () => T): T {
  const { traceparent } = span;
  const spanContext = {
    traceId: traceparent.slice(3, 35),
    spanId: traceparent.slice(36, 52),
    traceFlags: traceparent.endsWith("01") ? TraceFlags.SAMPLED : TraceFlags.NONE,
  };
  return context.with(trace.setSpanContext(context.active(), spanContext), handler);
}
