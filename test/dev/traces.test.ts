import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { findTraces, tracePage } from "#libs/cli/dev/find-traces.ts";
import { freePortBase, freePorts } from "../harness/free-ports.ts";
import { startOtlpCollector } from "../harness/otlp-collector.ts";
import { portOf } from "../harness/port-of.ts";
import { LocalLegion, newDataDir } from "./local-legion.ts";

test("a collector that listens is found; what OpenTelemetry's variables say counts more", async (t) => {
  const server = createServer((_, response) => response.end('{"data":null}'));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const here = portOf(server);
  const [away = 0] = await freePorts(1);
  const jaeger = "http://127.0.0.1:16686";
  const haste = { OTEL_BSP_SCHEDULE_DELAY: "500" };

  const grpc = { grpc: here, "http/protobuf": away };
  const http = { grpc: away, "http/protobuf": here };
  const endpoint = `http://127.0.0.1:${here}`;
  const found = { endpoint, found: true, jaeger };
  const byGrpc = { ...haste, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" };
  assert.deepEqual(await findTraces({}, grpc), { ...found, env: byGrpc });
  assert.equal(await findTraces({}, http), undefined);
  const protocol = { OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" };
  const byHttp = { ...haste, ...protocol, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint };
  assert.deepEqual(await findTraces(protocol, http), { ...found, env: byHttp });
  assert.equal(await findTraces(protocol, grpc), undefined);

  for (const off of [{ OTEL_SDK_DISABLED: "true" }, { OTEL_TRACES_EXPORTER: "none" }]) {
    assert.equal(await findTraces({ ...off, OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:1" }, grpc), undefined);
  }
  const named = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://c:1", OTEL_BSP_SCHEDULE_DELAY: "9", JAEGER_URL: `${endpoint}/` };
  const target = await findTraces(named, grpc);
  assert.deepEqual(target, { endpoint: "http://c:1", found: false, env: {}, jaeger: endpoint });

  assert.equal(await tracePage(target, "abc"), `${endpoint}/trace/abc`);
  assert.equal(await tracePage({ ...target, jaeger: `http://127.0.0.1:${away}` }, "abc"), undefined);
});

test("the task of the start is one trace, from its client to its agent", async (t) => {
  await using collector = await startOtlpCollector();
  const env = {
    OTEL_SDK_DISABLED: "false",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
    JAEGER_URL: "http://127.0.0.1:9",
  };
  const legion = new LocalLegion(t, { portBase: await freePortBase(), dataDir: await newDataDir(t), env });
  await legion.line(/^legion is ready/);
  assert.ok(legion.stdout.includes(`  Traces to   ${collector.endpoint}`), legion.all);
  const traceId = /trace ([\da-f]{32})$/.exec(await legion.line(/ ms, trace /))?.[1];
  const spans = await collector.waitFor((all) => all.filter((span) => span.traceId === traceId).length >= 7);
  assert.deepEqual(
    spans
      .filter((span) => span.traceId === traceId)
      .map(({ service, name }) => `${service}: ${name}`)
      .toSorted(),
    [
      "agents: execute greet",
      "client: send greet",
      "legion-dispatcher: assign greet",
      "legion-dispatcher: finish greet",
      "legion-dispatcher: submit greet",
      "legion-dispatcher: wait greet",
      "legion-registry: deliver greet",
    ],
  );
});
