import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Account, accountForPostgres, firstUnreachable } from "./account.ts";
import { postgresBinaries } from "./binaries.ts";

export interface Cluster {
  readonly directory: string;
  readonly postgres: string;
  readonly account: Account | undefined;
  readonly password: string;
}

/** Postgres must not see the caller's PGDATA, PGOPTIONS or locale. */
export const cleanEnvironment = { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };

/** Finds the cluster in `<dataDir>/postgres`, or makes it. The caller holds the lock of `dataDir`. */
export async function openCluster(dataDir: string): Promise<Cluster> {
  const directory = join(dataDir, "postgres");
  const account = await accountForPostgres(directory);
  if (account) await makeReachable(dataDir, account);
  const { initdb, postgres } = await postgresBinaries(dataDir, account);

  // A password and not trust: over trust, every local account would be a superuser, who may run programs.
  const passwordFile = join(dataDir, "password");
  const exists = await stat(directory).then(
    () => true,
    () => false,
  );
  if (!exists) await createCluster(directory, initdb, account, passwordFile);
  const password = await readFile(passwordFile, "utf8").catch((cause: unknown) => {
    throw new Error(`The password of the Postgres in ${directory} should be in ${passwordFile}.`, { cause });
  });
  return { directory, postgres, account, password };
}

async function createCluster(
  directory: string,
  initdb: string,
  account: Account | undefined,
  passwordFile: string,
): Promise<void> {
  // Renamed into place when complete: a start that was killed half-way leaves nothing that looks like a cluster.
  const unfinished = `${directory}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await rm(passwordFile, { force: true });
  await mkdir(unfinished, { mode: 0o700 });
  await writeFile(passwordFile, randomBytes(24).toString("base64url"), { mode: 0o600 });
  if (account) {
    await chown(unfinished, account.uid, account.gid);
    await chown(passwordFile, account.uid, account.gid);
  }
  // The builtin provider sorts and folds alike on every machine and libc.
  const locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"];
  const access = ["--username=postgres", "--auth=scram-sha-256", `--pwfile=${passwordFile}`];
  await promisify(execFile)(initdb, [`--pgdata=${unfinished}`, ...locale, ...access], {
    ...account,
    cwd: unfinished,
    env: cleanEnvironment,
  });
  await rename(unfinished, directory);
}

/** Our own directory may be opened for passing through; what lies above it is not ours to change. */
async function makeReachable(dataDir: string, account: Account): Promise<void> {
  const { mode } = await stat(dataDir);
  await chmod(dataDir, (mode & 0o7777) | 0o011);
  const blocked = firstUnreachable(dataDir, account);
  if (blocked === undefined) return;
  throw new Error(
    `Postgres cannot run as root and would run as uid ${account.uid}, which may not pass through ${blocked} ` +
      `to the data directory ${dataDir}. Choose a data directory outside of it, or do not run as root.`,
  );
}
