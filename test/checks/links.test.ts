import assert from "node:assert/strict";
import { globSync } from "node:fs";
import { test } from "node:test";
import { anchorsOf, brokenLinks, readIfAny } from "./links.ts";
import { readText, root } from "./repository.ts";

test("every link of the docs leads to a file, and to a heading in it", () => {
  const pages = globSync("{*.md,docs/**/*.md,helm/**/*.md,libs/**/*.md,test/**/*.md}", {
    cwd: root,
    exclude: (path) => path.includes("node_modules"),
  });
  assert.ok(pages.length > 10);
  assert.deepEqual(
    pages.flatMap((path) => brokenLinks(path, readText(path), readIfAny)),
    [],
  );
});

test("a broken link is seen, and what only looks like one is none", () => {
  const files = new Map([
    ["docs/a.md", "# A page\n\n## What `it` says: all\n\n## Twice\n\n## Twice\n\n```md\n## No heading\n```\n"],
    ["src/b.ts", ""],
  ]);
  assert.deepEqual([...anchorsOf(files.get("docs/a.md")!)], ["a-page", "what-it-says-all", "twice", "twice-1"]);
  const problems = (markdown: string): number => brokenLinks("docs/x.md", markdown, (path) => files.get(path)).length;
  for (const good of [
    "[a](a.md) [a](a.md#twice-1) [b](../src/b.ts#L3) [c](https://example.org/none) # H\n\n# H\n[h](#h)",
    "`[a](none.md)`\n\n```md\n[a](none.md)\n```\n",
  ]) {
    assert.equal(problems(good), 0, good);
  }
  for (const bad of [
    "[a](b.md)",
    "[a](a.md#thrice)",
    "[a](#no-heading)",
    "[a](../docs/c.md) `x`",
    "[a](a.md#no-heading)",
  ]) {
    assert.equal(problems(bad), 1, bad);
  }
});
