import { spawnSync } from "node:child_process";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { built, cacheFolder, protoFiles } from "../../harness/build-cache.ts";
import { repositoryRoot, run } from "../../harness/run-program.ts";
import type { Language } from "../language.ts";

export const rustFolder = join(repositoryRoot, "test/agents/rust");

const inputs = [protoFiles, join(rustFolder, "{Cargo.*,build.rs}"), join(rustFolder, "src/**/*.rs")];
const programs = ["agent", "client"];

export const rust: Language = {
  name: "rust",
  whyNot() {
    const { error } = spawnSync("cargo", ["--version"]);
    return error === undefined ? undefined : `cargo cannot be run: ${error.message}`;
  },
  async prepare() {
    const folder = await built("rust", inputs, async (unfinished) => {
      await cargo("build", "--bins");
      for (const program of programs) await copyFile(join(targetFolder(), "debug", program), join(unfinished, program));
    });
    return { agent: { file: join(folder, "agent"), args: [] }, client: { file: join(folder, "client"), args: [] } };
  },
};

/** Runs a cargo command on the example, with what it compiles kept outside of the checkout. @throws with what it wrote */
export async function cargo(command: string, ...args: readonly string[]): Promise<void> {
  await run("cargo", [command, "--locked", ...args], { cwd: rustFolder, env: { CARGO_TARGET_DIR: targetFolder() } });
}

// Of all builds: the dependencies are compiled once.
const targetFolder = (): string => join(cacheFolder("rust"), "target");
