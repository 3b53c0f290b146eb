import { spawn } from "node:child_process";
import { Socket } from "node:net";
import { createInterface } from "node:readline";
import { type Cluster, cleanEnvironment } from "./cluster.ts";

export interface PostgresExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface PostgresProcess {
  readonly pid: number;
  readonly exited: Promise<PostgresExit>;
  signal(signal: NodeJS.Signals): void;
  /** Lets this process end before Postgres does. */
  unref(): void;
}

/** Postgres ended before it was ready; the message carries the end of its log. */
export class PostgresStartError extends Error {
  override readonly name = "PostgresStartError";
  /** Killed backends of the predecessor still hold its shared memory; they notice within a second. */
  readonly predecessorLingers: boolean;
  readonly portTaken: boolean;

  constructor(clusterDir: string, exit: PostgresExit, lines: readonly string[]) {
    super(`The Postgres in ${clusterDir} ended with ${exit.signal ?? exit.code} at its start:\n${lines.join("\n")}`);
    this.predecessorLingers = lines.some((line) => /shared memory block .* is still in use/.test(line));
    this.portTaken = lines.some((line) => line.includes("could not bind"));
  }
}

/** Resolves when Postgres accepts connections; crash recovery takes as long as it takes. */
export function spawnPostgres(
  cluster: Cluster,
  settings: Readonly<Record<string, string>>,
  log: (line: string) => void,
): Promise<PostgresProcess> {
  const child = spawn(
    cluster.postgres,
    ["-D", cluster.directory, ...Object.entries(settings).map(([name, value]) => `--${name}=${value}`)],
    {
      ...cluster.account,
      cwd: cluster.directory,
      env: cleanEnvironment,
      stdio: ["ignore", "ignore", "pipe"],
      // A session of its own: Ctrl-C in our terminal is for us, and we stop Postgres last.
      detached: true,
    },
  );
  const exited = new Promise<PostgresExit>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  return new Promise((resolve, reject) => {
    const lastLines: string[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      log(line);
      lastLines.push(line);
      if (lastLines.length > 15) lastLines.shift();
      if (!line.includes("database system is ready to accept connections")) return;
      resolve({
        pid: child.pid!,
        exited,
        signal: (signal) => void child.kill(signal),
        unref() {
          child.unref();
          if (child.stderr instanceof Socket) child.stderr.unref();
        },
      });
    });
    child.once("error", reject);
    // "close" comes after "exit" and after the last line of the log; without effect once Postgres was ready.
    child.once("close", (code, signal) =>
      reject(new PostgresStartError(cluster.directory, { code, signal }, lastLines)),
    );
  });
}
