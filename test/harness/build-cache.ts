import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { glob, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, relative } from "node:path";
import { repositoryRoot } from "./run-program.ts";
import { waitFor } from "./wait-for.ts";

/** The contracts, for `inputs`. */
export const protoFiles = join(repositoryRoot, "proto/**/*.proto");

// From an empty cache with 2 cores Rust's dependencies take several minutes; who waits for that waits for its neighbours too.
const buildLimitMs = 20 * 60_000;

/** Where a language or a tool keeps what it builds; also for what its builds share, such as compiled dependencies. */
export function cacheFolder(name: string): string {
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "legion", name);
}

/**
 * The folder that `build` has filled from these inputs: at once if it is there, else after the build of whoever asked first,
 * in this process or another. `build` fills a folder of another name, which is renamed when it is whole.
 * @param inputs absolute paths or globs of all that the result depends on; their text decides whether it is built anew.
 */
export async function built(
  name: string,
  inputs: readonly string[],
  build: (folder: string) => Promise<unknown>,
): Promise<string> {
  const cache = cacheFolder(name);
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
