import { execFile } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { errorField } from "../errors.ts";

/**
 * Stops the Postgres of this cluster that outlived its supervisor (kill -9), so that the next one is our own child, whose
 * death we hear of. The caller holds the lock of the data directory, so nobody living wants it.
 */
export async function stopOrphan(clusterDir: string): Promise<void> {
  const pidFile = join(clusterDir, "postmaster.pid");
  const pid = Number.parseInt(await readFile(pidFile, "utf8").catch(() => ""), 10);
  if (!(pid > 0)) return;
  // Fast shutdown, then immediate, which Postgres follows up with SIGKILL to its own after 5 s. Never SIGKILL from us: its
  // backends would live on for a moment, writing.
  for (const [signal, patienceMs] of [
    ["SIGINT", 20_000],
    ["SIGQUIT", 10_000],
  ] as const) {
    if (!(await isPostmasterOf(pid, clusterDir))) break;
    process.kill(pid, signal);
    const deadlineMs = systemClock.monotonic() + patienceMs;
    while (systemClock.monotonic() < deadlineMs && (await isPostmasterOf(pid, clusterDir)))
      await sleep(systemClock, 20);
  }
  if (await isPostmasterOf(pid, clusterDir)) {
    throw new Error(`An earlier Postgres of ${clusterDir}, pid ${pid}, cannot be stopped.`);
  }
  // Somebody else has its number, as happens in containers, where the same few return at every start; or it is a zombie
  // that nobody collects. Postgres would take either for its predecessor and refuse.
  if (exists(pid)) await rm(pidFile, { force: true });
}

/** False for a zombie, too: it has no command line. */
async function isPostmasterOf(pid: number, clusterDir: string): Promise<boolean> {
  const command =
    process.platform === "linux"
      ? await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")
      : await promisify(execFile)("ps", ["-o", "command=", "-p", String(pid)]).then(
          ({ stdout }) => stdout,
          () => "",
        );
  return command.includes("postgres") && command.includes(clusterDir);
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorField(error, "code") === "EPERM";
  }
}
