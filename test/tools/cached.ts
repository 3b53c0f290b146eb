import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { waitFor } from "../harness/wait-for.ts";

export const root = join(import.meta.dirname, "../..");
const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "legion", "tools");

/**
 * The folder that `build` has filled, named after `name` and what it is made from: at once if it is there, else after the
 * build of whoever asked first, in this process or another. Outside of the checkout, so that a fresh clone has it too.
 */
export async function cached(
  name: string,
  madeFrom: readonly string[],
  build: (folder: string) => Promise<void>,
): Promise<string> {
  const hash = createHash("sha256").update(madeFrom.join("\0")).digest("hex").slice(0, 16);
  const folder = join(cache, `${name}-${hash}`);
  if (existsSync(folder)) return folder;
  await mkdir(cache, { recursive: true });
  const lock = `${folder}.lock`;
  await waitFor(() => existsSync(folder) || takeLock(lock), {
    describe: `the build of ${folder}`,
    timeoutMs: 1_200_000,
  });
  try {
    if (existsSync(folder)) return folder;
    const unfinished = `${folder}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(unfinished);
    await build(unfinished);
    // Under its final name only when it is whole.
    await rename(unfinished, folder);
  } finally {
    if (ownerOf(lock) === process.pid) await rm(lock);
  }
  return folder;
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
}

/** Runs a program to its end, whatever that is. */
export async function finish(file: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { cwd = root, env = {}, input = "" } = options;
  const child = spawn(file, args, { cwd, env: { ...process.env, ...env } });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

/** Its standard output. @throws with what it wrote when it fails */
export async function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await finish(file, args, options);
  if (code !== 0) throw new Error(`${file} ${args.slice(0, 4).join(" ")} ended with ${code}:\n${stderr}\n${stdout}`);
  return stdout;
}

async function takeLock(lock: string): Promise<boolean> {
  const owner = ownerOf(lock);
  if (owner !== undefined && !isAlive(owner)) await rm(lock, { force: true });
  try {
    await writeFile(lock, String(process.pid), { flag: "wx" });
    return true;
  } catch {
    return false;
  }
}

function ownerOf(lock: string): number | undefined {
  try {
    return Number(readFileSync(lock, "utf8")) || undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
