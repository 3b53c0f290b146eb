import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { finish } from "../harness/run-program.ts";
import { goTools, whyNoGo } from "../tools/go-tools.ts";
import { validateManifests, whyNoPython } from "../tools/manifests.ts";
import { chart, helm, nameOf, render, valueFiles } from "./helm.ts";
import { readmePath, readmeWithTable } from "./values-table.ts";

const skip = whyNoGo() ?? whyNoPython();
if (skip !== undefined) console.error(`SKIPPED: the Helm chart is not tested, for ${skip}`);
// Helm and its schemas are built at the first run.
const options = { skip, timeout: 1_200_000 };

// The oldest that the chart says it works with, and the newest.
const versions = ["1.30", "1.37"];
// The Gateway API, KEDA and the Prometheus operator define their own.
const foreign = [
  "gateway.networking.k8s.io/v1/GRPCRoute",
  "keda.sh/v1alpha1/ScaledObject",
  "monitoring.coreos.com/v1/PrometheusRule",
  "monitoring.coreos.com/v1/ServiceMonitor",
];

for (const file of valueFiles) {
  test(`${nameOf(file)}: Helm finds nothing to say against it`, options, async () => {
    const { code, stdout, stderr } = await helm("lint", "--strict", chart, "-f", file);
    assert.equal(code, 0, stdout + stderr);
  });

  test(`${nameOf(file)}: every object fulfils the schemas of Kubernetes ${versions.join(" and ")}`, options, async () => {
    const { objects, problems, unknown } = await validateManifests(await render("-f", file), versions);
    assert.ok(objects.length >= 18, `${objects.length} objects`);
    assert.deepEqual(problems, []);
    assert.deepEqual(unknown, nameOf(file) === "production" ? foreign : []);
    const names = objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`);
    assert.equal(new Set(names).size, names.length, "two objects have the same name");
  });
}

test("an object that breaks the schemas is seen", options, async () => {
  const yaml = (await render("-f", valueFiles[0]!)).replace("clusterIP: None", "clusterIp: None");
  const { problems } = await validateManifests(yaml, versions);
  assert.equal(problems.length, 2);
  assert.match(problems[0]!, /^1\.30: Service\/\S+: spec: Additional properties are not allowed \('clusterIp'/);
});

test("the chart's unit tests pass", options, async () => {
  const unittest = join(await goTools("helm"), "helm-unittest");
  const { code, stdout, stderr } = await finish(unittest, ["--strict", "-f", "../../test/helm/unit/*_test.yaml", chart]);
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /Tests:\s+\d{2,} passed/);
});

test("the README's table says what values.yaml says (npm run docs)", () => {
  const readme = readFileSync(readmePath, "utf8");
  assert.equal(readme, readmeWithTable(readme));
  const undocumented = readme.split("\n").filter((line) => /^\| `.*\| +\|$/.test(line));
  assert.deepEqual(undocumented, []);
});
