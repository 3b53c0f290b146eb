import assert from "node:assert/strict";
import { test } from "node:test";
import { LegionCore } from "#libs/client/index.ts";
import { serviceNames, startMesh } from "../harness/mesh.ts";
import type { MeshProcess } from "../harness/mesh-process.ts";
import { find, scrape } from "../harness/scrape.ts";
import { waitFor } from "../harness/wait-for.ts";

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
