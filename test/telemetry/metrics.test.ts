import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { boundedLabel, createMetrics } from "#libs/telemetry/metrics.ts";
import { createRpcMetrics } from "#libs/telemetry/rpc-metrics.ts";
import { startTelemetry, type Telemetry } from "#libs/telemetry/start-telemetry.ts";
import { portOf } from "../harness/port-of.ts";

let telemetry: Telemetry;
let scrape: () => Promise<string[]>;
const server = createServer((request, response) => telemetry.metricsHandler(request, response));

before(async () => {
  telemetry = await startTelemetry({ serviceName: "dispatcher", serviceVersion: "1.2.3", instanceId: "dispatcher-1" });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  scrape = async () => {
    const response = await fetch(`http://127.0.0.1:${portOf(server)}/metrics`);
    assert.match(response.headers.get("content-type") ?? "", /^text\/plain/);
    return (await response.text()).split("\n");
  };
});
after(async () => {
  server.close();
  await telemetry[Symbol.asyncDispose]();
});

test("instruments appear in a scrape under their full names, with the declared labels and buckets", async () => {
  const metrics = createMetrics("dispatcher");
  const submitted = metrics.counter("tasks_submitted_total", "Tasks taken in", ["namespace"]);
  submitted.add(2, { namespace: "default" });
  submitted.add(3, { namespace: "default" });
  metrics.counter("tasks_rescued_total", "Leases that expired");
  const wait = metrics.durationHistogram("queue_wait_seconds", "Wait", { buckets: [0.01, 0.1] });
  wait.recordMs(50);
  metrics.histogram("batch_tasks", "Tasks a statement", { buckets: [1, 10] }).record(7);
  let version = "1.0.0";
  metrics.observableGauge("sessions", "Sessions", () => [[4, { version }]]);
  const waiting = metrics.observableGauge("queued_tasks", "Tasks that wait", () => 12);

  const lines = await scrape();
  const has = (line: string): void => assert.ok(lines.includes(line), `${line}\nis not in\n${lines.join("\n")}`);
  has("# TYPE legion_dispatcher_tasks_submitted_total counter");
  has('legion_dispatcher_tasks_submitted_total{namespace="default"} 5');
  has("legion_dispatcher_tasks_rescued_total 0");
  has('legion_dispatcher_queue_wait_seconds_bucket{le="0.01"} 0');
  has('legion_dispatcher_queue_wait_seconds_bucket{le="0.1"} 1');
  has("legion_dispatcher_queue_wait_seconds_sum 0.05");
  has('legion_dispatcher_batch_tasks_bucket{le="10"} 1');
  has('legion_dispatcher_sessions{version="1.0.0"} 4');
  has("legion_dispatcher_queued_tasks 12");
  assert.ok(lines.some((line) => /^target_info\{.*service_name="dispatcher".*service_version="1\.2\.3"/.test(line)));
  assert.ok(Number(/^process_resident_memory_bytes (\d+)$/m.exec(lines.join("\n"))?.[1]) > 1e6);

  version = "1.1.0";
  waiting[Symbol.dispose]();
  const later = await scrape();
  assert.deepEqual(
    later.filter((line) => /^legion_dispatcher_(sessions|queued_tasks)\b/.test(line)),
    ['legion_dispatcher_sessions{version="1.1.0"} 4'],
    "what is no longer observed is no longer there",
  );
  assert.ok(later.includes('legion_dispatcher_tasks_submitted_total{namespace="default"} 5'));
});

async function worstLag(): Promise<number> {
  const line = (await scrape()).find((candidate) => candidate.startsWith('nodejs_eventloop_lag_seconds{quantile="1"}'));
  return Number(line?.split(" ")[1]);
}

test("a blocked event loop shows, and is forgotten after the scrape", async () => {
  for (let block = 0; block < 3; block++) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 250);
    // Node measures from sample to sample, and takes one, being late, as soon as the loop turns.
    await turn();
  }
  const blocked = await worstLag();
  assert.ok(blocked >= 0.2, `${blocked}`);
  assert.ok((await worstLag()) < blocked);
});

test("a name against Prometheus's conventions is refused where it is written", () => {
  const metrics = createMetrics("dispatcher");
  assert.throws(() => metrics.counter("tasks_submitted", ""), /legion_dispatcher_tasks_submitted must be snake_case/);
  assert.throws(() => metrics.durationHistogram("queue_wait_ms", ""), TypeError);
  assert.throws(() => metrics.histogram("wait_seconds", "", { buckets: [1] }), TypeError);
  assert.throws(() => metrics.observableGauge("queuedTasks", "", () => 1), TypeError);
});

test("calls are counted by service, method and status", async () => {
  const rpc = createRpcMetrics();
  const call = { service: "legion.dispatcher.v1.DispatcherService", method: "SubmitTask", durationMs: 4 };
  rpc.onCall({ ...call, code: "OK" });
  rpc.onCall({ ...call, code: "OK" });
  rpc.onCall({ ...call, code: "RESOURCE_EXHAUSTED" });
  const lines = await scrape();
  const count = (code: string) =>
    lines.find(
      (line) =>
        line ===
        `rpc_server_duration_seconds_count{rpc_system="grpc",rpc_service="${call.service}",rpc_method="SubmitTask",rpc_status_code="${code}"} ${code === "OK" ? 2 : 1}`,
    );
  assert.ok(count("OK"));
  assert.ok(count("RESOURCE_EXHAUSTED"));
});

test("a bounded label admits the first few values and calls the rest other", () => {
  const label = boundedLabel(["default"], 3);
  assert.deepEqual(["a", "b", "c", "a", "default", "d"].map(label), ["a", "b", "other", "a", "default", "other"]);
});
