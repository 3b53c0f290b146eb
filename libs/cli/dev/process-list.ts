import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";

interface Listed {
  readonly pid: number;
  /** In clock ticks since the machine's start. With it a pid that was given away again is not mistaken. */
  readonly startTime: string;
}

/** The processes of a mesh, in a file, for the start after one whose supervisor was killed. Without /proc it is empty. */
export class ProcessList {
  readonly #path: string;
  readonly #listed = new Map<string, Listed>();

  constructor(path: string) {
    this.#path = path;
  }

  set(name: string, pid: number | undefined): void {
    const startTime = pid === undefined ? undefined : startTimeOf(pid);
    if (pid === undefined || startTime === undefined) return;
    this.#listed.set(name, { pid, startTime });
    writeFileSync(this.#path, JSON.stringify(Object.fromEntries(this.#listed)));
  }

  clear(): void {
    rmSync(this.#path, { force: true });
  }
}

/**
 * Waits until the processes listed in the file have left, which they do when they notice that their supervisor is gone;
 * what is there after `patienceMs` (it hangs, or is stopped) is killed, with everything it started.
 */
export async function endOrphans(path: string, patienceMs: number): Promise<void> {
  const orphans = readListed(path).filter(isAlive);
  const deadlineMs = systemClock.monotonic() + patienceMs;
  while (orphans.some(isAlive) && systemClock.monotonic() < deadlineMs) await sleep(systemClock, 20);
  for (const orphan of orphans.filter(isAlive)) process.kill(-orphan.pid, "SIGKILL");
  // The kernel gives ports free a moment after the kill.
  while (orphans.some(isAlive)) await sleep(systemClock, 5);
  rmSync(path, { force: true });
}

function readListed(path: string): Listed[] {
  try {
    return Object.values(JSON.parse(readFileSync(path, "utf8")) as Record<string, Listed>);
  } catch {
    // Not there, or cut off by a kill in the middle of a write: then they leave by themselves.
    return [];
  }
}

function isAlive({ pid, startTime }: Listed): boolean {
  return startTimeOf(pid) === startTime;
}

function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the program's name in parentheses and may contain anything; field 22 is the start time.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return state === "Z" || state === "X" ? undefined : fields[18];
  } catch {
    return undefined;
  }
}
