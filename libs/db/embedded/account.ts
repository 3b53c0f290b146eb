import { spawnSync } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Who Postgres shall run as, or undefined for ourselves. Postgres refuses to be root, so root hands it to the owner of the
 * existing cluster, else to `postgres`, else to `nobody`. No account is created: a library has no business in /etc/passwd.
 */
export async function accountForPostgres(clusterDir: string): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const owner = await stat(clusterDir).catch(() => undefined);
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };

  const accounts = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  for (const name of ["postgres", "nobody"]) {
    const account = accounts.find((fields) => fields[0] === name);
    if (account) return { uid: Number(account[2]), gid: Number(account[3]) };
  }
  throw new Error("Postgres cannot run as root, and this machine has neither a `postgres` nor a `nobody` account.");
}

/** The first directory on the way to `path` (itself included) that the account may not pass through, if any. */
export function firstUnreachable(path: string, account: Account): string | undefined {
  const ancestors = [path];
  while (dirname(ancestors[0]!) !== ancestors[0]) ancestors.unshift(dirname(ancestors[0]!));
  // Asking the kernel as that account answers for groups and ACLs too, which stat modes do not.
  const script = 'for d; do test -x "$d" || { printf %s "$d"; exit 1; }; done';
  const { status, stdout } = spawnSync("/bin/sh", ["-c", script, "sh", ...ancestors], { ...account, encoding: "utf8" });
  return status === 0 ? undefined : stdout;
}
