import assert from "node:assert/strict";
import { test } from "node:test";
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

test("helm test fails when a task does not succeed, and its pod stays to be read", limits, async () => {
  const namespace = await Namespace.create(cluster.plane, "failing");
  const minimal = valueFiles.find((file) => nameOf(file) === "minimal")!;
  succeeded(await namespace.deploy("install", "-f", minimal, "--set", "tests.capability=nobody-has-this"));
  const { code, stdout, stderr } = await namespace.helm("test", "mesh", "--timeout=1m");
  assert.notEqual(code, 0, stdout);
  assert.match(stdout + stderr, /mesh-legion-test-task/);
  const [pod, ...others] = await namespace.pods("test");
  assert.deepEqual([pod?.metadata.name, pod?.status.phase, others], ["mesh-legion-test-task", "Failed", []]);
});
