import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Child } from "#libs/cli/dev/child.ts";
import { packageRoot } from "#libs/cli/dev/package-root.ts";
import { waitFor } from "../harness/wait-for.ts";

export interface LocalLegionFlags {
  readonly portBase: number;
  readonly dataDir: string;
  readonly more?: readonly string[];
  /** On top of this process's own, and of OTEL_SDK_DISABLED=true: a collector on this machine is no part of a test. */
  readonly env?: NodeJS.ProcessEnv;
}

/** `legion dev`, as a person starts it, but told to leave when the test's process ends. */
export class LocalLegion {
  readonly stdout: string[] = [];
  readonly stderr: string[] = [];
  readonly dataDir: string;
  readonly child: Child;

  constructor(t: TestContext, flags: LocalLegionFlags) {
    const { portBase, dataDir, more = [], env: added } = flags;
    this.dataDir = dataDir;
    const args = [
      join(packageRoot, "libs/cli/bin.js"),
      "dev",
      "--port-base",
      String(portBase),
      "--data-dir",
      dataDir,
      ...more,
    ];
    const { DATABASE_URL: _, LOG_LEVEL: __, ...env } = process.env;
    this.child = new Child(
      { name: "dev", args, env: { OTEL_SDK_DISABLED: "true", ...env, ...added } },
      (line, stream) => this[stream].push(line),
    );
    t.after(async () => {
      await this.child.stop(10_000);
    });
  }

  /** Waits for a line on standard output, and returns it. */
  line(pattern: RegExp, timeoutMs = 30_000): Promise<string> {
    return waitFor(() => this.stdout.find((line) => pattern.test(line)), {
      timeoutMs,
      describe: () => `${pattern} in\n${this.all}`,
    });
  }

  get all(): string {
    return [...this.stdout, ...this.stderr].join("\n");
  }

  /** The pids of all that it started, by name. */
  get pids(): Record<string, number> {
    const listed = JSON.parse(readFileSync(join(this.dataDir, "run", "processes.json"), "utf8")) as Record<
      string,
      { pid: number }
    >;
    const pids = Object.fromEntries(Object.entries(listed).map(([name, { pid }]) => [name, pid]));
    return {
      ...pids,
      postgres: Number.parseInt(readFileSync(join(this.dataDir, "postgres", "postmaster.pid"), "utf8"), 10),
    };
  }
}

export async function newDataDir(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "legion-dev-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Of these pids, those that still run. */
export function living(pids: Record<string, number>): string[] {
  return Object.entries(pids)
    .filter(([, pid]) => isAlive(pid))
    .map(([name]) => name);
}

export function isAlive(pid: number): boolean {
  try {
    // A zombie is dead: in a container nobody may reap it.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
