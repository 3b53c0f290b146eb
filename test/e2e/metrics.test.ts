import assert from "node:assert/strict";
import { test } from "node:test";
import { LegionCore } from "#libs/client/index.ts";
import { serviceNames, startMesh } from "../harness/mesh.ts";
import type { MeshProcess } from "../harness/mesh-process.ts";
import { waitFor } from "../harness/wait-for.ts";

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

test("what each service tells Prometheus is well-formed, and has what an operator asks first", async () => {
  await using mesh = await startMesh({ agents: true });
  await using core = new LegionCore({ dispatcher: mesh.dispatcher.address });
  await Promise.all(Array.from({ length: 20 }, (_, n) => core.dispatchTask(undefined, { name: `n${n}` }, "greet")));
  await core.dispatchTask("f", { times: 9, retryable: false }, "fail").catch(() => {});
  await core.dispatchTaskAsync("waits-1", {}, "nobody");
  await core.dispatchTaskAsync("waits-2", {}, "nobody");
  await core.dispatchTaskAsync("runs", { ms: 60_000 }, "sleep");

  const dispatcher = async (name: string, labels: Record<string, string>): Promise<number | undefined> =>
    find(await scrape(mesh.dispatcher), name, labels);
  // Gauges that are read from the database come after a while.
  for (const [name, labels, expected] of [
    ["legion_dispatcher_tasks_ended_total", { capability: "greet", state: "COMPLETED" }, 20],
    ["legion_dispatcher_tasks_ended_total", { capability: "fail", state: "FAILED" }, 1],
    ["legion_dispatcher_tasks", { state: "COMPLETED" }, 20],
    ["legion_dispatcher_tasks", { state: "QUEUED" }, 2],
    ["legion_dispatcher_tasks", { state: "LEASED" }, 1],
    ["legion_dispatcher_queue_tasks", { capability: "nobody" }, 2],
    ["legion_dispatcher_slots", { state: "taken" }, 1],
    ["legion_dispatcher_slots", { state: "free" }, 64 + 256 + 256 + 16 - 1],
    ["legion_dispatcher_leases", {}, 1],
    ["legion_dispatcher_time_to_start_seconds_count", { capability: "greet" }, 20],
    ["legion_dispatcher_execution_seconds_count", { capability: "greet", state: "COMPLETED" }, 20],
  ] as [string, Record<string, string>, number][]) {
    await waitFor(async () => (await dispatcher(name, labels)) === expected, {
      describe: () => `${name} ${JSON.stringify(labels)} to be ${expected}`,
    });
  }
  await waitFor(
    async () => ((await dispatcher("legion_dispatcher_queue_oldest_age_seconds", { capability: "nobody" })) ?? 0) > 0,
    { describe: "the age of the oldest task to grow" },
  );
  assert.equal(find(await scrape(mesh.registry), "legion_registry_sessions", { state: "active" }), 4);
  for (const name of serviceNames) {
    const process = mesh.process(name);
    const service = await callOnce(process);
    const samples = await scrape(process);
    assert.notEqual(find(samples, `legion_${name}_pool_connections`, { state: "idle" }), undefined, `${name}'s pool`);
    const calls = samples.filter(
      ({ name: sample, labels }) => sample === "rpc_server_duration_seconds_count" && labels["rpc_service"] === service,
    );
    assert.ok(calls.length > 0 && calls.every(({ labels }) => labels["rpc_status_code"]), `${name}'s calls`);
    assert.ok((find(samples, "process_cpu_seconds_total", {}) ?? 0) > 0);
  }
});

/** Makes one call, so that there is one to be counted. @returns the name of the gRPC service */
async function callOnce({ name, httpAddress }: MeshProcess): Promise<string> {
  const [service, method] = {
    registry: ["legion.registry.v1.RegistryService", "ListAgents"],
    dispatcher: ["legion.dispatcher.v1.DispatcherService", "GetMetrics"],
    ratelimit: ["legion.ratelimit.v1.RateLimitService", "ListLimits"],
    watchdog: ["legion.watchdog.v1.WatchdogService", "ListIncidents"],
  }[name] as [string, string];
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${httpAddress}/${service}/${method}`, { method: "POST", headers, body: "{}" });
  assert.equal(response.status, 200, await response.text());
  return service;
}

function find(samples: readonly Sample[], name: string, labels: Record<string, string>): number | undefined {
  return samples.find(
    (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  )?.value;
}

const line = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (-?[\d.eE+-]+|[+-]Inf|NaN)(?: \d+)?$/;
const label = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/y;

/** Reads `/metrics` as strictly as its format is. */
async function scrape({ httpAddress }: MeshProcess): Promise<Sample[]> {
  const response = await fetch(`${httpAddress}/metrics`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^text\/plain/);
  const text = await response.text();
  assert.ok(text.endsWith("\n"));
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  for (const row of text.trimEnd().split("\n")) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary|untyped)$/.exec(row);
    if (type !== null) {
      assert.ok(!types.has(type[1]!), `${type[1]} is declared once`);
      types.set(type[1]!, type[2]!);
    } else if (!row.startsWith("# HELP ")) {
      const [, name, labelText = "", value] = line.exec(row) ?? assert.fail(`no sample: ${row}`);
      samples.push({
        name: name!,
        labels: readLabels(labelText, row),
        value: Number(value!.replace("Inf", "Infinity")),
      });
    }
  }
  for (const { name, value } of samples) {
    const family = types.has(name) ? name : name.replace(/_(bucket|count|sum)$/, "");
    assert.ok(types.has(family), `${name} has a type`);
    if (types.get(family) === "counter") assert.ok(name.endsWith("_total") && value >= 0, name);
  }
  const series = ({ name, labels }: Sample): string => {
    const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
    return [name, ...pairs.toSorted()].join("\n");
  };
  assert.equal(new Set(samples.map(series)).size, samples.length, "no series is told twice");
  return samples;
}

function readLabels(text: string, row: string): Record<string, string> {
  const labels: Record<string, string> = {};
  label.lastIndex = 0;
  while (label.lastIndex < text.length) {
    const [, key, value] = label.exec(text) ?? assert.fail(`labels that cannot be read: ${row}`);
    assert.ok(!((key ?? "") in labels), `${key} is given once: ${row}`);
    labels[key!] = value!;
  }
  return labels;
}
