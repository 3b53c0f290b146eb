import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { built } from "../harness/build-cache.ts";
import { run } from "../harness/run-program.ts";

/** Why Go tools cannot be built on this machine; undefined if they can. For a test's `skip`. */
export function whyNoGo(): string | undefined {
  const { error } = spawnSync("go", ["version"]);
  return error === undefined ? undefined : `go cannot be run: ${error.message}`;
}

/** The folder with the programs that `test/tools/<name>/go.mod` names as tools. Built once: Helm takes minutes. */
export async function goTools(name: string): Promise<string> {
  const module = join(import.meta.dirname, name);
  return await built(name, [join(module, "go.*")], async (folder) => {
    await run("go", ["build", "-trimpath", "-ldflags=-s -w", "-o", `${folder}/`, "tool"], { cwd: module });
  });
}
