import assert from "node:assert/strict";
import { after, test } from "node:test";
import { trace } from "@opentelemetry/api";
import { defineAgent, TaskError } from "#libs/agent/index.ts";
import { startTelemetry } from "#libs/telemetry/start-telemetry.ts";
import { startOtlpCollector } from "../harness/otlp-collector.ts";
import { memoryLog } from "./harness/logs.ts";
import { TestRegistry } from "./harness/test-registry.ts";

const collector = await startOtlpCollector();
process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint;
const telemetry = await startTelemetry({ serviceName: "tracer", serviceVersion: "1", instanceId: "1" });
after(async () => {
  await collector[Symbol.asyncDispose]();
});

test("each execution is a span under its assignment's, and what the handler does lies under it", async () => {
  await using registry = await TestRegistry.start();
  const seen: string[] = [];
  {
    await using agent = defineAgent({
      name: "tracer",
      agentId: "tracer-1",
      registry: registry.address,
      log: memoryLog().log,
      capabilities: {
        async work(_data, context) {
          context.span.setAttribute("mine", 7);
          await Promise.resolve();
          trace.getTracer("test").startActiveSpan("inner", (span) => span.end());
          seen.push(context.traceparent);
        },
        fail() {
          throw new TaskError("no", { code: "NOPE", retryable: false });
        },
      },
    });
    await agent.start();
    const stream = await registry.stream(0);
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    stream.assign(
      { taskId: "a", attempt: 2, capability: "work", traceparent },
      { taskId: "b", capability: "fail", traceparent },
    );
    await Promise.all([stream.outcome("a"), stream.outcome("b")]);
  }
  await telemetry[Symbol.asyncDispose]();
  const spans = await collector.waitFor((all) => all.length >= 3);
  const execute = spans.find(({ attributes }) => attributes["messaging.message.id"] === "a");
  const failed = spans.find(({ attributes }) => attributes["messaging.message.id"] === "b");
  const inner = spans.find(({ name }) => name === "inner");
  assert.deepEqual([execute?.name, execute?.kind], ["execute work", "consumer"]);
  assert.equal(execute?.traceId, "0af7651916cd43dd8448eb211c80319c");
  assert.equal(execute.parentSpanId, "b7ad6b7169203331");
  assert.deepEqual(
    ["mine", "legion.attempt", "legion.agent.id", "legion.outcome", "messaging.destination.name"].map(
      (name) => execute.attributes[name],
    ),
    [7, 2, "tracer-1", "completed", "work"],
  );
  assert.equal(inner?.parentSpanId, execute.spanId);
  assert.deepEqual(seen, [`00-${execute.traceId}-${execute.spanId}-01`]);
  assert.deepEqual([failed?.attributes["error.type"], failed?.attributes["legion.outcome"]], ["NOPE", "failed"]);
});
