import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CommandOptions } from "../command/command-options.ts";
import { runCommand } from "../command/run-command.ts";
import type { AllowList, ExactPackage } from "./allow-list.ts";
import { type NpmLock, refusalsOf } from "./npm-tree.ts";
import { refused } from "./package-names.ts";

const fixed = [
  // What a user's .npmrc might say otherwise.
  ...["--location=project", "--ignore-scripts", "--package-lock", "--no-audit", "--no-fund"],
  // So that a dependency from elsewhere is not even fetched to resolve it.
  ...["--allow-git=none", "--allow-remote=none", "--allow-file=none", "--allow-directory=none"],
];

/** Resolves first, without installing; the lock that this writes decides what is then installed. */
export async function npmInstall(
  directory: string,
  { name, version }: ExactPackage,
  allowList: AllowList,
  options: CommandOptions,
): Promise<void> {
  const install = ["install", `--prefix=${directory}`, ...fixed];
  const files = ["package.json", "package-lock.json"].map((file) => join(directory, file));
  const before = await Promise.all(files.map((file) => readIfThere(file)));
  try {
    const resolve = ["--package-lock-only", "--save-prod", "--save-exact", "--", `${name}@${version}`];
    await runCommand("npm", [...install, ...resolve], options);
    const refusals = refusalsOf(JSON.parse(await readFile(files[1]!, "utf8")) as NpmLock, allowList);
    if (refusals.length > 0) {
      const message = `${name} ${version} would bring what is not allowed, and was not installed: ${refusals.join(" ")}`;
      throw refused(message, { name, version });
    }
    await runCommand("npm", install, options);
  } catch (error) {
    await Promise.all(files.map((file, index) => restore(file, before[index])));
    throw error;
  }
}

async function readIfThere(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

async function restore(file: string, content: Buffer | undefined): Promise<void> {
  await (content === undefined ? rm(file, { force: true }) : writeFile(file, content));
}
