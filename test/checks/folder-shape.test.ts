import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { readText, root } from "./repository.ts";

const files =
  "package.json package-lock.json tsconfig.json buf.yaml buf.gen.yaml README.md CONTRIBUTING.md SECURITY.md Dockerfile LICENSE".split(
    " ",
  );
const folders = ["proto", "services", "libs", "test", "helm", "docs"];

test("the top level holds nothing but the project's known files and folders", () => {
  const ignored = readText(".gitignore")
    .split("\n")
    .map((line) => line.replace(/\/$/, ""));
  const unknown = readdirSync(root, { withFileTypes: true }).filter(
    (entry) =>
      !entry.name.startsWith(".") &&
      !ignored.includes(entry.name) &&
      !(entry.isDirectory() ? folders : files).includes(entry.name),
  );
  assert.deepEqual(
    unknown.map(({ name }) => name),
    [],
  );
});
