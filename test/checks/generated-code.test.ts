import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { filesUnder, root } from "./repository.ts";

const read = (folder: string, path: string): string => readFileSync(join(folder, path), "utf8");

test("the generated code is what the contracts generate", (t) => {
  const fresh = mkdtempSync(join(tmpdir(), "legion-generated-"));
  t.after(() => rmSync(fresh, { recursive: true }));
  const tools = join(root, "node_modules/.bin");
  execFileSync(join(tools, "buf"), ["generate", "-o", fresh], {
    cwd: root,
    env: { ...process.env, PATH: [tools, process.env["PATH"]].join(delimiter) },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [committed, generated] = [join(root, "libs/proto"), join(fresh, "libs/proto")];
  const paths = filesUnder(generated);
  assert.ok(paths.length > 0);
  assert.deepEqual(filesUnder(committed), paths, "run `npm run generate`");
  const stale = paths.filter((path) => read(committed, path) !== read(generated, path));
  assert.deepEqual(stale, [], "run `npm run generate`");
});
