import { chmodSync, mkdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { lockDirectory } from "#libs/db/embedded/directory-lock.ts";
import { endOrphans, ProcessList } from "./process-list.ts";
import { StartError } from "./start-error.ts";

/** Services leave within 4 s of noticing that their supervisor is gone. */
const orphanPatienceMs = 5_000;

export interface DataDir extends Disposable {
  readonly path: string;
  /** As short as it can be written from where we are. */
  readonly shortPath: string;
  readonly logs: string;
  readonly shortLogs: string;
  readonly processes: ProcessList;
}

/**
 * Makes this process the only supervisor of the directory, until disposal or death.
 * @throws StartError when a living one has it.
 */
export async function openDataDir(directory: string): Promise<DataDir> {
  const path = resolve(directory);
  const shortPath = shorten(path);
  const run = join(path, "run");
  try {
    mkdirSync(run, { recursive: true });
    // Postgres, which may run as another user, has to pass through.
    chmodSync(path, 0o711);
  } catch (error) {
    throw new StartError(
      `The data directory ${shortPath} cannot be used (${(error as Error).message}): choose another with --data-dir DIR.`,
    );
  }
  const lock = await lockDirectory(run).catch((error: unknown) => {
    if (!isInUse(error)) throw error;
    throw new StartError(
      `The data directory ${shortPath} is in use by a running legion${owner(run)}: stop that one, or give this one its own with ` +
        `--data-dir DIR (and its own ports with --port-base N).`,
    );
  });
  return {
    path,
    shortPath,
    logs: join(path, "logs"),
    shortLogs: join(shortPath, "logs"),
    processes: new ProcessList(join(run, "processes.json")),
    [Symbol.dispose]: () => lock.release(),
  };
}

/** Sees to it that nothing of a mesh whose supervisor was killed is in the way. */
export function clearOrphans(dataDir: DataDir): Promise<void> {
  return endOrphans(join(dataDir.path, "run", "processes.json"), orphanPatienceMs);
}

function isInUse(error: unknown): boolean {
  const { cause } = error as { cause?: { errcode?: number } };
  return cause?.errcode === sqliteBusy;
}

const sqliteBusy = 5;

function owner(run: string): string {
  try {
    const { pid } = JSON.parse(readFileSync(join(run, "owner.json"), "utf8")) as { pid: number };
    return ` (pid ${pid})`;
  } catch {
    return "";
  }
}

function shorten(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere !== "" && !fromHere.startsWith("..") ? fromHere : path;
}
