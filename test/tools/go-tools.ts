import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { built } from "../harness/build-cache.ts";
import { run } from "../harness/run-program.ts";

/** Why Go tools cannot be built on this machine; undefined if they can. For a test's `skip`. */
export function whyNoGo(): string | undefined {
  const { error } = spawnSync("go", ["version"]);
  return error === undefined ? undefined : `go cannot be run: ${error.message}`;
}

/** The folder of a tool's module. */
export function goModule(name: string): string {
  return join(import.meta.dirname, name);
}

interface GoToolsOptions {
  /** Of the build, separated by commas; the same at each call. */
  readonly tags?: string;
  /** Called before a build. */
  readonly onBuild?: () => void;
}

/** The folder with the programs that `test/tools/<name>/go.mod` names as tools. Built once: Helm takes minutes. */
export async function goTools(name: string, { tags = "", onBuild }: GoToolsOptions = {}): Promise<string> {
  const module = goModule(name);
  return await built(name, [join(module, "go.*")], async (folder) => {
    onBuild?.();
    const build = ["build", "-trimpath", "-ldflags=-s -w", "-tags", tags, "-o", `${folder}/`, "tool"];
    await run("go", build, { cwd: module });
  });
}

interface GoToolOptions {
  /** For the linker, `-X path.name=value`. */
  readonly variables: string;
  readonly begins: () => void;
}

/** One of those programs alone, under a name: where all of them would take longer than a build may. */
export async function goTool(name: string, program: string, path: string, options: GoToolOptions): Promise<string> {
  const module = goModule(name);
  const folder = await built(join(name, program), [join(module, "go.*")], async (unfinished) => {
    options.begins();
    const flags = ["-trimpath", `-ldflags=-s -w ${options.variables}`];
    await run("go", ["build", ...flags, "-o", join(unfinished, program), path], { cwd: module });
  });
  return join(folder, program);
}

/** A module that `test/tools/<name>/go.mod` requires: its version, and where Go keeps its files. Fetched if need be. */
export async function goRequired(name: string, path: string): Promise<{ Version: string; Dir: string }> {
  const cwd = goModule(name);
  const requirement = new RegExp(`^\\s*(?:require )?(${path} v\\S+)`, "m").exec(
    readFileSync(join(cwd, "go.mod"), "utf8"),
  );
  if (requirement === null) throw new Error(`${cwd} does not require ${path}.`);
  const output = await run("go", ["mod", "download", "-json", requirement[1]!.replace(" ", "@")], { cwd });
  return JSON.parse(output) as { Version: string; Dir: string };
}
