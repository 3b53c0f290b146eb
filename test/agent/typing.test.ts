import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "../..");

test("a capability's schema types what its handler is given", async () => {
  // Inside the package, for its `imports` hold only there.
  await using folder = await mkdtempDisposable(join(root, "node_modules", ".typing-"));
  const config = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: { typeRoots: [join(root, "node_modules/@types")] },
    include: [],
    files: [join(root, "test/agent/fixtures/typed-handlers.ts")],
  };
  await writeFile(join(folder.path, "tsconfig.json"), JSON.stringify(config));
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const { stdout, status } = spawnSync(process.execPath, [tsc, "-p", folder.path, "--pretty", "false"], {
    encoding: "utf8",
  });
  assert.equal(status, 0, stdout);
});
