import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { before, test } from "node:test";
import { builtGo, whyNoGo } from "../conformance/languages/go.ts";

const skip = whyNoGo();
if (skip !== undefined) console.error(`SKIPPED: the Go agent is not tested, for ${skip}`);

let cwd: string;
before(async () => {
  if (skip === undefined) cwd = join(await builtGo(), "test/agents/go");
});

test(
  "the Go agent is formatted, vetted, and its bookkeeping holds under the race detector",
  { skip, timeout: 240_000 },
  () => {
    const output = (file: string, ...args: string[]): string => {
      const { status, stdout, stderr } = spawnSync(file, args, { cwd, encoding: "utf8" });
      assert.equal(status, 0, `${file} ${args.join(" ")}\n${stdout}${stderr}`);
      return stdout;
    };
    assert.equal(output("gofmt", "-l", "agent", "client", "legion", "telemetry"), "", "gofmt would change these");
    output("go", "vet", "./...");
    assert.match(output("go", "test", "-race", "-count=1", "./legion"), /^ok/);
  },
);
