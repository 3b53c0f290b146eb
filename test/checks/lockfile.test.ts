import assert from "node:assert/strict";
import { test } from "node:test";
import { readText } from "./repository.ts";

const lockfile: { packages: Record<string, Record<string, unknown>> } = JSON.parse(readText("package-lock.json"));
const manifest: Record<string, Record<string, string>> = JSON.parse(readText("package.json"));

test("the lockfile names versions and checksums, and no address to fetch them from", () => {
  const { "": project, ...packages } = lockfile.packages;
  assert.ok(Object.keys(packages).length > 50);
  // `resolved` would send everybody to the registry of whoever ran npm install last.
  const resolved = Object.entries(packages).filter(([, entry]) => "resolved" in entry);
  assert.deepEqual(
    resolved.map(([path]) => path),
    [],
  );
  // What is for other platforms alone is not installed here, and not every registry has it to take a checksum of.
  const unchecked = Object.entries(packages).filter(
    ([, entry]) => entry["integrity"] === undefined && !entry["link"] && !(entry["optional"] && entry["os"]),
  );
  assert.deepEqual(
    unchecked.map(([path]) => path),
    [],
  );
  assert.doesNotMatch(
    JSON.stringify(packages, (key, value) => (key === "funding" ? undefined : value)),
    /https?:\/\//,
  );
  assert.deepEqual(
    [project?.["dependencies"], project?.["devDependencies"]],
    [manifest["dependencies"], manifest["devDependencies"]],
  );
});

test("dependencies are pinned to exact versions", () => {
  const loose = Object.entries({ ...manifest["dependencies"], ...manifest["devDependencies"] }).filter(
    ([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version),
  );
  assert.deepEqual(loose, []);
});
