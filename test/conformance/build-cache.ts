import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { glob, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, relative } from "node:path";
import { waitFor } from "../harness/wait-for.ts";

export const repositoryRoot = join(import.meta.dirname, "../..");

/** The contracts, for `inputs`. */
export const protoFiles = join(repositoryRoot, "proto/**/*.proto");

// From an empty cache with 2 cores Rust's dependencies take several minutes; who waits for that waits for its neighbours too.
const buildLimitMs = 20 * 60_000;

/** Where a language keeps what it builds; also for what it shares between builds, such as compiled dependencies. */
export function cacheFolder(language: string): string {
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "legion", language);
}

/**
 * The folder that `build` has filled from these inputs: at once if it is there, else after the build of whoever asked first,
 * in this process or another. `build` fills a folder of another name, which is renamed when it is whole.
 * @param inputs absolute paths or globs of all that the result depends on; their text decides whether it is built anew.
 */
export async function built(
  language: string,
  inputs: readonly string[],
  build: (folder: string) => Promise<void>,
): Promise<string> {
  const cache = cacheFolder(language);
  const folder = join(cache, await hashOf(inputs));
  if (existsSync(folder)) return folder;
  await mkdir(cache, { recursive: true });
  const lock = `${folder}.lock`;
  await waitFor(() => existsSync(folder) || takeLock(lock), {
    describe: `the build of ${folder}, which ${lock} says is under way`,
    timeoutMs: buildLimitMs,
  });
  try {
    if (!existsSync(folder)) {
      const unfinished = `${folder}.unfinished`;
      await rm(unfinished, { recursive: true, force: true });
      await mkdir(unfinished);
      await build(unfinished);
      await rename(unfinished, folder);
    }
  } finally {
    if (ownerOf(lock) === process.pid) await rm(lock);
  }
  return folder;
}

/** Runs a build step to its end. @throws with what it wrote when it fails */
export async function run(
  file: string,
  args: readonly string[],
  { cwd = repositoryRoot, env = {} }: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<void> {
  const child = spawn(file, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [code, signal] = (await once(child, "close")) as [number | null, string | null];
  if (code !== 0) throw new Error(`${file} ${args.slice(0, 3).join(" ")} ended with ${code ?? signal}:\n${output}`);
}

async function hashOf(inputs: readonly string[]): Promise<string> {
  const hash = createHash("sha256");
  for (const path of (await Array.fromAsync(glob([...inputs]))).toSorted()) {
    const text = readFileIfAny(path);
    if (text !== undefined) hash.update(`${relative(repositoryRoot, path)}\0${text.length}\0`).update(text);
  }
  return hash.digest("hex").slice(0, 16);
}

/** Undefined for a folder. */
function readFileIfAny(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EISDIR") return undefined;
    throw error;
  }
}

// Others of this process wait for the build as those of another process do.
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
