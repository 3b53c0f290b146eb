import assert from "node:assert/strict";
import { test } from "node:test";
import type { Finished } from "../harness/run-program.ts";
import { nameOf, valueFiles } from "../helm/helm.ts";
import { Namespace, succeeded } from "./namespace.ts";
import { limits, useControlPlane } from "./use.ts";

const cluster = useControlPlane();

// What a release leaves behind on purpose: the data of its Postgres.
const kept: Readonly<Record<string, readonly string[]>> = {
  trial: ["persistentvolumeclaim/data-mesh-legion-postgres-0"],
};

for (const file of valueFiles) {
  test(`${nameOf(file)}: installed, tested, upgraded to the same and uninstalled without a trace`, limits, async () => {
    const namespace = await Namespace.create(cluster.plane, nameOf(file));
    const empty = await namespace.everything();
    const notes = succeeded(await namespace.deploy("install", "-f", file));
    assert.match(notes, /STATUS: deployed[^]*Legion \S+ is installed as mesh/);
    const tested = succeeded(await namespace.helm("test", "mesh", "--timeout=1m"));
    assert.equal(tested.match(/Phase: +Succeeded/g)?.length, 2, tested);
    const pods = (await namespace.list("pods")).map(({ metadata }) => metadata.uid).toSorted();
    succeeded(await namespace.deploy("upgrade", "-f", file));
    const same = (await namespace.list("pods")).map(({ metadata }) => metadata.uid).toSorted();
    if (nameOf(file) !== "trial") assert.deepEqual(same, pods);
    succeeded(await namespace.helm("uninstall", "mesh", "--wait", "--cascade=foreground"));
    const expected = [...empty, ...(kept[nameOf(file)] ?? [])].toSorted();
    assert.deepEqual(await namespace.everything(), expected);
  });
}

test("what failed stays to be read, even after the release; one command takes it away", limits, async () => {
  const namespace = await Namespace.create(cluster.plane, "failing");
  const empty = await namespace.everything();
  const minimal = valueFiles.find((file) => nameOf(file) === "minimal")!;
  const upgrade = async (settings: string): Promise<Finished> =>
    namespace.deploy("upgrade", "-f", minimal, "--set", settings);

  succeeded(await namespace.deploy("install", "-f", minimal, "--set", "tests.capability=nobody-has-this"));
  const { code, stdout, stderr } = await namespace.helm("test", "mesh", "--timeout=1m");
  assert.notEqual(code, 0, stdout);
  assert.match(stdout + stderr, /mesh-legion-test-task/);
  const tests = await namespace.pods("test");
  const phases = tests.map(({ metadata, status }) => `${metadata.name}: ${status.phase}`);
  assert.deepEqual(phases, ["mesh-legion-test-task: Failed"]);

  assert.notEqual((await upgrade("image.tag=broken,migrations.backoffLimit=0")).code, 0);
  const [migration] = await namespace.pods("migrate");
  succeeded(await namespace.helm("uninstall", "mesh", "--wait", "--cascade=foreground"));
  const left = ["job.batch/mesh-legion-migrate", `pod/${migration?.metadata.name}`, "pod/mesh-legion-test-task"];
  assert.deepEqual(await namespace.everything(), [...empty, ...left].toSorted());
  await namespace.kubectl(["delete", "job,pod", "-l", "app.kubernetes.io/instance=mesh"]);
  assert.deepEqual(await namespace.everything(), empty);
});
