import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { chapters } from "./behaviours/index.ts";
import { repositoryRoot } from "../harness/run-program.ts";
import { type Cell, markdownTable, terminalTable } from "./table.ts";

const names = Object.values(chapters).flatMap((behaviours) => behaviours.map(({ name }) => name));

test("the page's table has a row for each behaviour, and no others", () => {
  const page = readFileSync(join(repositoryRoot, "docs/agents.md"), "utf8");
  const [, table = ""] = /<!-- conformance table -->([^]*)<!-- end of the conformance table -->/.exec(page) ?? [];
  const rows = table
    .split("\n")
    .map((line) => line.split("|")[1]?.trim() ?? "")
    .filter((cell) => names.includes(cell) || /^[^*-]/.test(cell));
  assert.deepEqual(rows, names, "npm run conformance -- --write makes it anew");
});

test("behaviours have names of their own", () => {
  assert.equal(new Set(names).size, names.length);
});

test("what was not heard of has not passed", () => {
  const cells = new Map<string, Cell>(names.slice(2).map((name) => [name, "passed"]));
  cells.set(names[1]!, "skipped");
  const results = new Map([["go" as const, cells]]);
  const lines = stripVTControlCharacters(terminalTable(results)).split("\n");
  const signOf = (name: string): string | undefined =>
    lines
      .find((line) => line.startsWith(`  ${name} `))
      ?.trim()
      .at(-1);
  assert.deepEqual(
    [0, 1, 2].map((n) => signOf(names[n]!)),
    ["✗", "–", "✓"],
  );
  assert.match(markdownTable(results), new RegExp(`^\\| ${names[2]} \\| ✗ \\| ✗ \\| ✓ \\| ✗ \\| ✗ \\|$`, "m"));
});
