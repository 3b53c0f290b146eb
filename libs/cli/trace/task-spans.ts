import { attribute } from "#libs/telemetry/attributes.ts";
import { type TraceNode, type TraceSpan, traceTree } from "./trace-span.ts";

/** The spans of one task out of a trace: its own, whatever lies below them, and the way up to the root. */
export function spansOfTask(spans: readonly TraceSpan[], taskId: string): TraceSpan[] {
  const kept = new Set<TraceSpan>();
  const keepAll = ({ span, children }: TraceNode): void => {
    kept.add(span);
    children.forEach(keepAll);
  };
  // Returns whether the task is there or below.
  const look = (node: TraceNode): boolean => {
    if (isOfTask(node.span, taskId)) {
      keepAll(node);
      return true;
    }
    const found = node.children.map(look).includes(true);
    if (found) kept.add(node.span);
    return found;
  };
  traceTree(spans).forEach(look);
  return spans.filter((span) => kept.has(span));
}

export function isOfTask({ attributes }: TraceSpan, taskId: string): boolean {
  return attributes[attribute.messagingMessageId] === taskId;
}

export function attemptOf({ attributes }: TraceSpan): number | undefined {
  const attempt = attributes[attribute.attempt];
  return typeof attempt === "number" ? attempt : undefined;
}
