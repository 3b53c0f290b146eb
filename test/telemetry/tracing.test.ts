import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { promisify } from "node:util";
import { type sendUnaryData, Server, ServerCredentials, type ServerUnaryCall } from "@grpc/grpc-js";
import type { LogFields, Logger } from "#libs/telemetry/logger.ts";
import { startTelemetry, type Telemetry } from "#libs/telemetry/start-telemetry.ts";
import {
  isTracing,
  newTraceparent,
  recordSpan,
  SpanKind,
  spanIdOf,
  startSpan,
  traceIdOf,
} from "#libs/telemetry/task-spans.ts";
import { type Span, startOtlpCollector } from "../harness/otlp-collector.ts";
import { decodeTraces } from "../harness/otlp-decoder.ts";
import { portOf } from "../harness/port-of.ts";

const service = { serviceName: "dispatcher", serviceVersion: "1.2.3", instanceId: "dispatcher-1" };
const agentProcess = new URL("fixtures/agent-process.ts", import.meta.url).pathname;

/** Starts telemetry as if these variables were set; they are read once, at the start. */
async function startWith(variables: Record<string, string>, more: { log?: Logger } = {}): Promise<Telemetry> {
  const before = { ...process.env };
  Object.assign(process.env, variables);
  try {
    return await startTelemetry({ ...service, ...more });
  } finally {
    for (const name of Object.keys(variables)) {
      delete process.env[name];
      if (before[name] !== undefined) process.env[name] = before[name];
    }
  }
}

function listeningLog() {
  const lines: { level: string; message: string; fields: LogFields | undefined }[] = [];
  const events = new EventEmitter();
  const at = (level: string) => (message: string, fields?: LogFields) => {
    lines.push({ level, message, fields });
    events.emit(level);
  };
  const log: Logger = {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    fatal: at("fatal"),
    child: () => log,
    withTrace: () => log,
  };
  return { log, lines, said: (level: string) => once(events, level) };
}

test("spans of two processes make one tree under the caller's context", async () => {
  await using collector = await startOtlpCollector();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, OTEL_RESOURCE_ATTRIBUTES: "zone=west" };
  const caller = { traceparent: newTraceparent(), tracestate: "vendor=abc,other=1" };
  {
    await using telemetry = await startWith(env);
    assert.equal(telemetry.tracing, true);
    const submit = startSpan("submit", {
      kind: SpanKind.PRODUCER,
      parent: caller,
      links: [{ traceparent: newTraceparent() }],
    });
    submit.setAttribute("messaging.destination.name", "summarise");
    const wait = recordSpan("queue wait", {
      parent: submit,
      startTimeMs: 1_900_000_000_000.25,
      endTimeMs: 1_900_000_000_750.5,
    });
    assert.equal(traceIdOf(wait.traceparent), traceIdOf(caller.traceparent));
    submit.end();
    await promisify(execFile)(process.execPath, [agentProcess], {
      env: { ...process.env, ...env, TRACEPARENT: submit.traceparent, TRACESTATE: submit.tracestate },
    });
  }
  // Disposing the telemetry flushed it, so nothing is waited for.
  const named = (name: string): Span => {
    const span = collector.spans().find((candidate) => candidate.name === name);
    assert.ok(span, name);
    return span;
  };
  const [submit, wait, execute] = [named("submit"), named("queue wait"), named("execute")];
  assert.equal(collector.spans().length, 3);

  assert.equal(submit.parentSpanId, spanIdOf(caller.traceparent));
  for (const span of [submit, wait, execute]) assert.equal(span.traceId, traceIdOf(caller.traceparent));
  for (const span of [wait, execute]) assert.equal(span.parentSpanId, submit.spanId);
  for (const span of [submit, wait, execute]) assert.equal(span.tracestate, caller.tracestate);

  assert.deepEqual([submit.kind, execute.kind, wait.kind], ["producer", "consumer", "internal"]);
  assert.deepEqual(submit.attributes, { "messaging.destination.name": "summarise" });
  assert.equal(submit.links.length, 1);
  assert.deepEqual([submit.service, execute.service], ["dispatcher", "agent"]);
  assert.equal(submit.resource["service.instance.id"], "dispatcher-1");
  assert.equal(execute.resource["zone"], "west");
  assert.equal(wait.startTimeMs, 1_900_000_000_000.25);
  assert.equal(wait.endTimeMs, 1_900_000_000_750.5);
  assert.deepEqual([execute.status, execute.statusMessage], ["error", "the tool broke"]);
  assert.match(
    String(execute.events[0]?.attributes["exception.stacktrace"]),
    /TypeError: the tool broke\n +at .*agent-process/,
  );
  assert.equal(execute.attributes["legion.attempt"], 2);
});

const raw = (bytes: Buffer): Buffer => bytes;

test("a collector that speaks gRPC gets the same", async () => {
  const received: Span[] = [];
  const server = new Server();
  server.addService(
    {
      Export: {
        path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        requestStream: false,
        responseStream: false,
        requestSerialize: raw,
        requestDeserialize: raw,
        responseSerialize: raw,
        responseDeserialize: raw,
      },
    },
    {
      Export(call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) {
        received.push(...decodeTraces(call.request));
        answer(null, Buffer.alloc(0));
      },
    },
  );
  const port = await promisify(server.bindAsync.bind(server))("127.0.0.1:0", ServerCredentials.createInsecure());
  {
    await using telemetry = await startWith({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
    });
    assert.equal(telemetry.tracing, true);
    startSpan("submit").end();
  }
  server.forceShutdown();
  assert.deepEqual(
    received.map(({ service: name, name: span }) => [name, span]),
    [["dispatcher", "submit"]],
  );
});

test("a caller that does not sample is obeyed, and its trace goes on", async () => {
  await using collector = await startOtlpCollector();
  const unsampled = newTraceparent().replace(/01$/, "00");
  {
    await using telemetry = await startWith({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint });
    assert.equal(telemetry.tracing, true);
    const span = startSpan("submit", { parent: { traceparent: unsampled } });
    assert.equal(traceIdOf(span.traceparent), traceIdOf(unsampled));
    assert.match(span.traceparent, /-00$/);
    span.end();
    startSpan("root", { parent: { traceparent: "garbage" } }).end();
  }
  assert.deepEqual(
    collector.spans().map(({ name, parentSpanId }) => [name, parentSpanId]),
    [["root", ""]],
  );
});

test("without an endpoint no span is made, and the parent's strings pass through untouched", async () => {
  await using telemetry = await startTelemetry(service);
  assert.equal(telemetry.tracing, false);
  assert.equal(isTracing(), false);
  const parent = { traceparent: newTraceparent(), tracestate: "vendor=abc" };
  const span = startSpan("submit", { parent });
  span.setAttribute("a", 1);
  span.recordError(new Error("lost"));
  span.end();
  assert.deepEqual([span.traceparent, span.tracestate], [parent.traceparent, parent.tracestate]);
  assert.equal(startSpan("root").traceparent, "");
  assert.equal(startSpan("root"), startSpan("other", { parent: { traceparent: "garbage", tracestate: "x=y" } }));
});

test("a lost collector is reported once, and once when it is back", async () => {
  let broken = true;
  // 400 is not retryable, so each export fails at once.
  const server = createServer((_request, response) => void response.writeHead(broken ? 400 : 200).end());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { log, lines, said } = listeningLog();
  const endpoint = `http://user:hunter2@127.0.0.1:${portOf(server)}`;
  {
    await using telemetry = await startWith(
      { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_BSP_SCHEDULE_DELAY: "1" },
      { log },
    );
    assert.equal(telemetry.tracing, true);
    for (let failures = 0; failures < 3; failures++) {
      startSpan("lost").end();
      await once(server, "request");
    }
    broken = false;
    const recovered = said("info");
    startSpan("found").end();
    await recovered;
    startSpan("after").end();
  }
  server.close();
  assert.deepEqual(
    lines.map(({ level, message, fields }) => [level, message, fields?.["endpoint"], fields?.["spans_lost"]]),
    [
      ["warn", "traces cannot be exported; nothing else is affected", endpoint.replace("hunter2", "****"), undefined],
      ["info", "traces are exported again", endpoint.replace("hunter2", "****"), 3],
    ],
  );
});

test("stopping does not wait for a collector that does not answer", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { log, lines } = listeningLog();
  const telemetry = await startWith(
    {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${portOf(silent)}`,
      // Longer than stopping may take; the SDK's own timers hold the process for as long.
      OTEL_EXPORTER_OTLP_TIMEOUT: "2500",
    },
    { log },
  );
  startSpan("never received").end();
  const [[, response]]: [any[], void] = await Promise.all([once(silent, "request"), telemetry[Symbol.asyncDispose]()]);
  assert.equal(response.writableEnded, false);
  assert.equal(response.destroyed, false, "the exporter still waits, the telemetry no longer does");
  assert.deepEqual(lines, []);
  silent.closeAllConnections();
  silent.close();
});

test("a setting that cannot be used is refused by name", async () => {
  const wrong = { OTEL_EXPORTER_OTLP_ENDPOINT: "localhost:4318", OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" };
  await assert.rejects(startWith(wrong), (error: Error) => {
    assert.match(error.message, /OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4318 .* for example .*http:\/\/localhost:4318/);
    assert.match(error.message, /OTEL_EXPORTER_OTLP_PROTOCOL=http\/json .* http\/protobuf, grpc/);
    return true;
  });
});
