import { trace } from "@opentelemetry/api";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { attribute, messagingSystem } from "#libs/telemetry/attributes.ts";
import { isTracing, SpanKind, startSpan } from "#libs/telemetry/task-spans.ts";
import type { TaskSpan, TraceStrings } from "#libs/telemetry/task-spans.ts";

/**
 * Starts the span of a dispatch and makes it the task's parent. With tracing off there is none, and the Dispatcher
 * begins the trace.
 */
export function startDispatchSpan(spec: TaskSpec): TaskSpan | undefined {
  if (!isTracing()) return undefined;
  const span = startSpan(`send ${spec.capability}`, {
    kind: SpanKind.PRODUCER,
    parent: activeTrace(),
    attributes: {
      [attribute.messagingSystem]: messagingSystem,
      [attribute.messagingOperationType]: "send",
      [attribute.messagingOperationName]: "submit",
      [attribute.messagingDestinationName]: spec.capability,
      [attribute.messagingMessageId]: spec.taskId,
      [attribute.messagingMessageBodySize]: spec.taskData?.data.length ?? 0,
      [attribute.namespace]: spec.namespace || "default",
    },
  });
  spec.traceparent = span.traceparent;
  spec.tracestate = span.tracestate;
  return span;
}

/** What the caller's own code is doing, if it says so. */
function activeTrace(): TraceStrings | undefined {
  const context = trace.getActiveSpan()?.spanContext();
  if (context === undefined) return undefined;
  const flags = context.traceFlags.toString(16).padStart(2, "0");
  return {
    traceparent: `00-${context.traceId}-${context.spanId}-${flags}`,
    tracestate: context.traceState?.serialize(),
  };
}
