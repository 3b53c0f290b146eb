import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { serviceNames } from "../harness/mesh.ts";
import { repositoryRoot } from "../harness/run-program.ts";
import { scrapeFamilies } from "../harness/scrape.ts";
import { startBusyMesh } from "./busy-mesh.ts";
import { documentedMetrics, seriesNames } from "./documented.ts";

// A rollback takes hundreds of executions of two versions.
const notHere = ["legion_watchdog_rollback_seconds"];

test("docs/metrics.md has what a mesh exposes: names, types, labels; and nothing else", async () => {
  const documented = documentedMetrics();
  const ofSeries = new Map(
    [...documented].flatMap(([name, family]) => seriesNames(name, family).map((series) => [series, name] as const)),
  );
  await using mesh = await startBusyMesh();
  const exposed = new Map<string, Set<string>>();
  for (const service of serviceNames) {
    const { types, samples } = await scrapeFamilies(mesh.process(service));
    for (const [name, type] of types) assert.equal(documented.get(name)?.type, type, `docs/metrics.md on ${name}`);
    for (const { name, labels } of samples) {
      const family = ofSeries.get(name) ?? assert.fail(`${name} is not in docs/metrics.md`);
      const seen = exposed.get(family) ?? new Set();
      for (const label of Object.keys(labels)) if (label !== "le") seen.add(label);
      exposed.set(family, seen);
    }
  }
  assert.deepEqual(
    [...documented.keys()].filter((name) => !exposed.has(name)),
    notHere,
  );
  for (const [name, labels] of exposed) {
    assert.deepEqual([...labels].toSorted(), [...documented.get(name)!.labels].toSorted(), `the labels of ${name}`);
  }
});

// Which service a library of several belongs to.
const homes: [RegExp, readonly string[]][] = [
  [/^libs\/service\//, serviceNames],
  [/^libs\/limits\//, ["dispatcher"]],
];

test("docs/metrics.md has every metric that the code declares", () => {
  const declared = new Set<string>();
  for (const path of globSync("{libs,services}/**/*.ts", { cwd: repositoryRoot }).toSorted()) {
    const service = /^services\/(\w+)\//.exec(path)?.[1];
    const services = service === undefined ? (homes.find(([home]) => home.test(path))?.[1] ?? []) : [service];
    const source = readFileSync(join(repositoryRoot, path), "utf8");
    for (const [, name] of source.matchAll(
      /\bmetrics\??\s*\.(?:counter|histogram|durationHistogram|observableGauge)\(\s*"(\w+)"/g,
    )) {
      assert.ok(services.length > 0, `${path} declares ${name}: of which service?`);
      for (const each of services) declared.add(`legion_${each}_${name}`);
    }
  }
  assert.ok(declared.size > 40);
  const documented = [...documentedMetrics().keys()].filter((name) => name.startsWith("legion_"));
  assert.deepEqual(documented.toSorted(), [...declared].toSorted());
});
