import { readdirSync, readFileSync } from "node:fs";

// Linux counts in hundredths of a second everywhere that matters.
const tickMs = 10;

interface ProcessTimes {
  readonly parent: number;
  readonly cpuMs: number;
}

/** CPU time that processes have used so far, by name; of Postgres the server with all its children. Milliseconds. */
export function cpuTimesMs(pids: Readonly<Record<string, number>>): Record<string, number> {
  const all = readProcesses();
  const times: Record<string, number> = {};
  for (const [name, pid] of Object.entries(pids)) {
    let cpuMs = all.get(pid)?.cpuMs ?? 0;
    for (const { parent, cpuMs: own } of all.values()) if (parent === pid) cpuMs += own;
    times[name] = cpuMs;
  }
  return times;
}

function readProcesses(): Map<number, ProcessTimes> {
  const processes = new Map<number, ProcessTimes>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "latin1");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const ticks = Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14]);
      processes.set(Number(entry), { parent: Number(fields[1]), cpuMs: ticks * tickMs });
    } catch {
      // It ended meanwhile.
    }
  }
  return processes;
}
