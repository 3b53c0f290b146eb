import assert from "node:assert/strict";
import { test } from "node:test";
import { trace } from "@opentelemetry/api";
import { LegionCore } from "#libs/client/index.ts";
import { startTelemetry } from "#libs/telemetry/start-telemetry.ts";
import { startOtlpCollector } from "../harness/otlp-collector.ts";
import { completed, failed } from "./payloads.ts";
import { StubDispatcher } from "./stub-dispatcher.ts";

test("each dispatch is a span under what its caller is doing, and the task's parent", async () => {
  await using collector = await startOtlpCollector();
  process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint;
  const telemetry = await startTelemetry({ serviceName: "caller", serviceVersion: "1", instanceId: "1" });
  await using stub = await StubDispatcher.start({
    play: ({ taskId }) => (taskId === "bad" ? failed("NOPE", "no") : completed({})),
  });
  await using core = new LegionCore({ dispatcher: stub.target });
  await trace.getTracer("test").startActiveSpan("caller's own", async (span) => {
    await core.dispatchTask("good", {}, "greet");
    await assert.rejects(core.dispatchTask("bad", {}, "greet"));
    span.end();
  });
  await core.dispatchTaskAsync("alone", {}, "greet");
  await telemetry[Symbol.asyncDispose]();

  const spans = await collector.waitFor((all) => all.length >= 4);
  const spanOf = (taskId: string) => spans.find(({ attributes }) => attributes["messaging.message.id"] === taskId);
  const own = spans.find(({ name }) => name === "caller's own");
  const [good, bad, alone] = ["good", "bad", "alone"].map(spanOf);
  assert.deepEqual([good?.name, good?.kind, good?.parentSpanId], ["send greet", "producer", own?.spanId]);
  assert.equal(good?.traceId, own?.traceId);
  assert.equal(stub.tasks.get("good")?.traceparent, `00-${good?.traceId}-${good?.spanId}-01`);
  assert.equal(bad?.parentSpanId, own?.spanId);
  assert.equal(bad?.status, "error");
  assert.notEqual(alone?.traceId, own?.traceId);
  assert.equal(stub.tasks.get("alone")?.traceparent, `00-${alone?.traceId}-${alone?.spanId}-01`);
});
