import { existsSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import type { DataDir } from "./data-dir.ts";
import { deathNotice } from "./death-notice.ts";
import { LogFile } from "./log-file.ts";
import { RestartBackoff } from "./restart-backoff.ts";
import type { Screen } from "./screen.ts";
import { StartError } from "./start-error.ts";
import { slowStep } from "./slow-step.ts";

/** The mesh's Postgres. */
export interface Database {
  readonly url: string;
  /** For the address table. */
  readonly address: string;
  /** Ends it, if it is ours; what it has not written out within `patienceMs` is recovered at the next start. */
  stop(patienceMs: number): Promise<void>;
  /** Ends it without writing anything out; a second later it is gone at the latest. */
  kill(): Promise<void>;
}

/**
 * A Postgres that somebody else runs.
 * @throws StartError when that is no URL of a Postgres.
 */
export function foreignDatabase(url: string): Database {
  const parsed = URL.parse(url);
  if (parsed === null || !["postgres:", "postgresql:"].includes(parsed.protocol)) {
    throw new StartError("DATABASE_URL cannot be understood: expected postgres://user:password@host:port/database.");
  }
  const address = `${parsed.host}${parsed.pathname} (DATABASE_URL)`;
  return { url, address, stop: async () => {}, kill: async () => {} };
}

/** Starts the embedded Postgres of the data directory, and starts it again whenever it ends. */
export async function ownDatabase(dataDir: DataDir, screen: Screen): Promise<Database> {
  const file = new LogFile(join(dataDir.logs, "postgres.log"));
  const isNew = !existsSync(join(dataDir.path, "postgres"));
  const what = isNew ? `creating a database in ${dataDir.shortPath}` : `starting the database in ${dataDir.shortPath}`;
  const starting = startEmbeddedPostgres({ dataDir: dataDir.path, log: (line) => file.add(line) });
  const postgres = await slowStep(screen, what, starting).catch((error: unknown) => {
    throw withAdvice(error, dataDir.shortPath);
  });
  // Of an exit nobody planned, such as an uncaught exception; Postgres ends without us.
  process.once("exit", () => signal(postgres, "SIGINT"));
  const stopping = new AbortController();
  const kept = keepAlive(postgres, screen, stopping.signal);
  return {
    url: postgres.connectionString,
    address: `127.0.0.1:${postgres.port} (${dataDir.shortPath}/postgres)`,
    async stop(patienceMs) {
      stopping.abort();
      const timer = setTimeout(() => signal(postgres, "SIGQUIT"), patienceMs);
      await kept;
      await postgres[Symbol.asyncDispose]();
      clearTimeout(timer);
    },
    async kill() {
      stopping.abort();
      signal(postgres, "SIGQUIT");
      const timer = setTimeout(() => signal(postgres, "SIGKILL"), 1_000);
      await postgres.exited;
      clearTimeout(timer);
    },
  };
}

/** Says what to do where Postgres itself only says what is wrong. */
function withAdvice(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !error.message.includes("database files are incompatible")) return error;
  const advice = `Move ${path} away to begin anew, or go on with the release of Legion that made it.`;
  return new StartError(`${error.message}\n${advice}`, { cause: error });
}

async function keepAlive(postgres: EmbeddedPostgres, screen: Screen, stopping: AbortSignal): Promise<void> {
  const backoff = new RestartBackoff();
  const asked = new Promise<"asked">((resolve) => stopping.addEventListener("abort", () => resolve("asked")));
  for (;;) {
    const startedMs = systemClock.monotonic();
    const exit = await Promise.race([postgres.exited, asked]);
    if (exit === "asked" || stopping.aborted) return;
    let ranMs = systemClock.monotonic() - startedMs;
    let trouble: string | undefined;
    do {
      const delayMs = backoff.afterDeath(ranMs);
      screen.tell(deathNotice("postgres", exit, trouble, delayMs));
      await sleep(systemClock, delayMs, stopping);
      if (stopping.aborted) return;
      ranMs = 0;
      trouble = await postgres.restart().then(() => undefined, lastLine);
    } while (trouble !== undefined);
    screen.tell({ event: "process_ready", process: "postgres", text: "is ready again" });
  }
}

function lastLine(error: Error): string {
  return error.message.trimEnd().split("\n").at(-1) ?? "";
}

function signal(postgres: EmbeddedPostgres, name: NodeJS.Signals): void {
  if (postgres.pid !== undefined) process.kill(postgres.pid, name);
}
