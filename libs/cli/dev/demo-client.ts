import { randomUUID } from "node:crypto";
import { attribute, messagingSystem } from "#libs/telemetry/attributes.ts";
import { createLogger } from "#libs/telemetry/logger.ts";
import { startTelemetry } from "#libs/telemetry/start-telemetry.ts";
import { SpanKind, startSpan } from "#libs/telemetry/task-spans.ts";
import { type DemoResult, runDemoTask } from "./demo-task.ts";

/** Sends one `greet` as a client of the SDK would whose spans are exported: its span is the trace's root. */
export type DemoClient = (dispatcherHttpPort: number, signal: AbortSignal) => Promise<DemoResult>;

/** Reads OpenTelemetry's variables. Loading the SDK takes 0.2 s, so it is begun while the services start. */
export async function tracedDemoClient(): Promise<DemoClient> {
  // The services tell when the collector is away.
  const log = createLogger({ service: "client", level: "fatal" });
  const telemetry = await startTelemetry({ serviceName: "client", serviceVersion: "1", instanceId: randomUUID(), log });
  return async (dispatcherHttpPort, signal) => {
    const span = startSpan("send greet", {
      kind: SpanKind.PRODUCER,
      attributes: {
        [attribute.messagingSystem]: messagingSystem,
        [attribute.messagingOperationType]: "send",
        [attribute.messagingOperationName]: "submit",
        [attribute.messagingDestinationName]: "greet",
        [attribute.namespace]: "default",
      },
    });
    try {
      const result = await runDemoTask(dispatcherHttpPort, signal, span.traceparent);
      span.setAttribute(attribute.messagingMessageId, result.taskId);
      return result;
    } catch (error) {
      span.recordError(error);
      throw error;
    } finally {
      span.end();
      // Sends it; a collector that is away does not hold the start up.
      void telemetry[Symbol.asyncDispose]().then(undefined, () => {});
    }
  };
}
