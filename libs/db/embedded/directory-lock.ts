import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { errorField } from "../errors.ts";

export interface DirectoryLock {
  release(): void;
}

/**
 * Makes this process the only owner of `directory` until `release()` or its death.
 *
 * Node has no flock, but SQLite takes a POSIX lock on its file, and the kernel drops that with the process however it
 * dies: nothing is ever stale, no pid can be mistaken for another, and containers that share a volume on one machine see
 * each other. Nothing else in this process may open `<directory>/lock`: closing it would drop the lock.
 *
 * @throws when a living process owns the directory; the message names both.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const ownerFile = join(directory, "owner.json");
  const database = new DatabaseSync(join(directory, "lock"));
  try {
    database.exec("begin exclusive");
  } catch (error) {
    database.close();
    if (errorField(error, "errcode") !== sqliteBusy) throw error;
    const owner = await readFile(ownerFile, "utf8").catch(() => "an unknown process");
    throw new Error(`The data directory ${directory} is in use by another process: ${owner.trim()}`, { cause: error });
  }
  // For people and for the message above only: nobody decides by it.
  await writeFile(ownerFile, `${JSON.stringify({ pid: process.pid, since: new Date().toISOString() })}\n`);
  return {
    release() {
      if (database.isOpen) database.close();
    },
  };
}

const sqliteBusy = 5;
