import type { Attributes } from "@opentelemetry/api";
import { attribute, messagingSystem } from "#libs/telemetry/attributes.ts";
import { isTracing } from "#libs/telemetry/task-spans.ts";

/** A span's attributes by the messaging conventions; nothing is built while nobody records. */
export function taskAttributes(
  task: { readonly namespace: string; readonly taskId: string; readonly capability: string },
  operationType: "create" | "send" | "receive" | "settle",
  operation: string,
  more?: Attributes,
): Attributes {
  if (!isTracing()) return nothing;
  return {
    [attribute.messagingSystem]: messagingSystem,
    [attribute.messagingOperationType]: operationType,
    [attribute.messagingOperationName]: operation,
    [attribute.messagingDestinationName]: task.capability,
    [attribute.messagingMessageId]: task.taskId,
    [attribute.namespace]: task.namespace,
    ...more,
  };
}

const nothing: Attributes = {};
