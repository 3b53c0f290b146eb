import assert from "node:assert/strict";
import { test } from "node:test";
import { testDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";
import { whyNoGo } from "../tools/go-tools.ts";
import { validateManifests, whyNoPython } from "../tools/manifests.ts";
import { render } from "./helm.ts";
import { type PodProcess, startContainer } from "./pod-process.ts";
import { type PodSpec, Release } from "./pods.ts";

const skip = whyNoGo() ?? whyNoPython();
if (skip !== undefined) console.error(`SKIPPED: a mesh from the chart's manifests is not tested, for ${skip}`);

test("the manifests' commands and environment make a mesh of several pods, and a task runs", { skip, timeout: 1_200_000 }, async () => {
  await using database = await testDatabase();
  const { objects } = await validateManifests(await render("--set", `database.url=${database.connectionString}`), []);
  const release = await Release.of(objects);
  const counts = Object.entries(Object.groupBy(release.pods, ({ spec }) => spec.containers[0].name));
  assert.deepEqual(
    counts.map(([name, pods]) => `${name} × ${pods?.length}`).toSorted(),
    ["dispatcher × 3", "ratelimit × 3", "registry × 3", "watchdog × 2"],
  );

  const job = release.object("Job", "mesh-legion-migrate").spec as { template: { spec: PodSpec } };
  const [migrate] = job.template.spec.containers;
  const migration = startContainer(migrate.command, release.environment(migrate));
  assert.equal(await migration.exited, 0, migration.output());

  const started: PodProcess[] = [];
  using _ = { [Symbol.dispose]: () => started.forEach((process) => process.kill()) };
  const start = (...of: Parameters<typeof startContainer>): PodProcess => {
    const process = startContainer(...of);
    started.push(process);
    return process;
  };
  const running = release.pods.map((pod) => {
    const [container] = pod.spec.containers;
    return { pod, process: start(container.command, release.environment(container, pod)) };
  });
  for (const { pod, process } of running) {
    const { port, path } = release.readiness(pod);
    await waitFor(async () => (await fetch(`http://127.0.0.1:${port}${path}`)).status === 200, {
      describe: () => `${pod.name} to be ready:\n${process.output()}`,
      timeoutMs: 120_000,
    });
  }

  // What `helm test` runs.
  const health = release.object("Pod", "mesh-legion-test-health").spec as unknown as PodSpec;
  // Health over gRPC follows /readyz within a second.
  const asked = await waitFor(
    async () => {
      const process = start(health.containers[0].command, release.environment(health.containers[0]));
      assert.equal(await process.exited, 0, process.output());
      return process.output().match(/ serving /g)?.length === release.pods.length ? process.output() : undefined;
    },
    { describe: "every pod to serve", timeoutMs: 60_000 },
  );
  assert.match(asked, /^healthy/);

  const { initContainers, containers } = release.object("Pod", "mesh-legion-test-task").spec as unknown as PodSpec;
  const [agents] = initContainers!;
  const helpers = start(agents!.command, release.environment(agents!));
  const task = start(containers[0].command, release.environment(containers[0]));
  assert.equal(await task.exited, 0, `${task.output()}\n${helpers.output()}`);
  assert.match(task.output(), /"greeting":\s*"Hello, Helm!"/);
  helpers.stop();
  assert.equal(await helpers.exited, 0, helpers.output());

  for (const { process } of running) process.stop();
  for (const { pod, process } of running) assert.equal(await process.exited, 0, `${pod.name}:\n${process.output()}`);
});
