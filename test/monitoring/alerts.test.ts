import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LegionCore } from "#libs/client/index.ts";
import { serviceNames, startMesh } from "../harness/mesh.ts";
import { waitFor } from "../harness/wait-for.ts";
import { render, valueFiles } from "../helm/helm.ts";
import { whyNoGo } from "../tools/go-tools.ts";
import { type Alert, Prometheus } from "./prometheus.ts";

const skip = whyNoGo();
if (skip !== undefined) console.error(`SKIPPED: no Prometheus watches a mesh, for ${skip}`);

const soon = ["LegionNoAgentForQueuedTasks", "LegionServiceUnavailable", "LegionTasksFail"];

test(
  "a real Prometheus, with the chart's rules, tells of what goes wrong in a real mesh",
  { skip, timeout: 1_200_000 },
  async () => {
    await using cleanUp = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "legion-rules-"));
    cleanUp.defer(() => rm(folder, { recursive: true }));
    const rules = join(folder, "rules.yaml");
    const shortened = soon.map((alert) => `prometheusRule.alerts.${alert}.for=1s`).join(",");
    await writeFile(rules, await chartRules(`prometheusRule.enabled=true,${shortened}`));

    const mesh = cleanUp.use(await startMesh({ agents: true }));
    const core = cleanUp.use(new LegionCore({ dispatcher: mesh.dispatcher.address }));
    const targets = serviceNames.map((name) => `127.0.0.1:${mesh.process(name).httpPort}`);
    const prometheus = cleanUp.use(await Prometheus.start([rules], targets));
    await waitFor(async () => (await value(prometheus, "count(legion:replicas_ready:sum == 1)")) === 4, {
      describe: "Prometheus to see four services",
      timeoutMs: 30_000,
    });
    await core.dispatchTask(undefined, { name: "Ada" }, "greet");
    // What is recorded comes a moment after what it is made of.
    await waitFor(async () => (await prometheus.alerts()).length === 0, {
      describe: "a healthy mesh to be without alerts",
      timeoutMs: 30_000,
    });

    await core.dispatchTaskAsync("waits", {}, "nobody");
    const noAgent = await firing(prometheus, "LegionNoAgentForQueuedTasks");
    assert.equal(noAgent.labels["capability"], "nobody");
    assert.equal(noAgent.annotations["summary"], "1 tasks for nobody wait, and no agent offers it");

    const fail = (times: number) =>
      Promise.allSettled(
        Array.from({ length: times }, () => core.dispatchTask(undefined, { times: 9, retryable: false }, "fail")),
      );
    // A rate knows nothing of what a series began with.
    await fail(1);
    const failed = `legion_dispatcher_tasks_ended_total{capability="fail",state="FAILED"}`;
    await waitFor(async () => (await value(prometheus, failed)) === 1, { describe: "the first failure to be seen" });
    await fail(20);
    assert.equal((await firing(prometheus, "LegionTasksFail")).labels["capability"], "fail");

    await mesh.kill("watchdog");
    assert.equal((await firing(prometheus, "LegionServiceUnavailable")).labels["service_name"], "legion-watchdog");
    await mesh.restart("watchdog");
    await waitFor(async () => (await find(prometheus, "LegionServiceUnavailable")) === undefined, {
      describe: "the alert to end",
      timeoutMs: 30_000,
    });
  },
);

async function chartRules(settings: string): Promise<string> {
  const manifest = await render(
    "-f",
    valueFiles[0]!,
    "--set",
    settings,
    "--show-only",
    "templates/prometheusrule.yaml",
  );
  const [, spec] = manifest.split("\nspec:\n");
  return spec!.replace(/^ {2}/gm, "");
}

async function find(prometheus: Prometheus, name: string): Promise<Alert | undefined> {
  return (await prometheus.alerts()).find(({ labels, state }) => labels["alertname"] === name && state === "firing");
}

async function firing(prometheus: Prometheus, name: string): Promise<Alert> {
  return await waitFor(() => find(prometheus, name), {
    describe: `${name} to fire`,
    timeoutMs: 60_000,
  });
}

async function value(prometheus: Prometheus, query: string): Promise<number> {
  const { result } = await prometheus.get<{ result: { value: [number, string] }[] }>("query", { query });
  return Number(result[0]?.value[1]);
}
