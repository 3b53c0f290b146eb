import { fileURLToPath } from "node:url";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { pendingMigrations } from "#libs/db/migrate.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Readiness } from "./readiness.ts";

export interface Wait {
  readonly pool: ConnectionPool;
  /** The schema's name. */
  readonly name: string;
  readonly databaseUrl: string;
  readonly migrationsDirectory: URL;
  readonly readiness: Readiness;
  readonly log: Logger;
  /** Ends the waiting. */
  readonly signal: AbortSignal | undefined;
}

/** Until Postgres answers and the schema is as new as this code. Meanwhile `readiness` and the log say what is waited for. */
export async function waitForSchema(wait: Wait): Promise<void> {
  await whenAnswered(wait);
  await whenMigrated(wait);
  wait.readiness.remove("start");
}

async function whenAnswered({ pool, readiness, log, signal }: Wait): Promise<void> {
  let told = false;
  const tell = (err: unknown): void => {
    if (!told) log.warn("Postgres does not answer; waiting for it", { err });
    told = true;
  };
  readiness.add("start", () => "waiting for Postgres to answer");
  try {
    await pool.whenReady(signal, tell);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

async function whenMigrated({ name, databaseUrl, migrationsDirectory, readiness, log, signal }: Wait): Promise<void> {
  const directory = fileURLToPath(migrationsDirectory);
  readiness.add("start", () => `waiting for the schema ${name} to be migrated (run: legion migrate)`);
  for (let waited = 0; ; waited++) {
    const pending = await pendingMigrations(databaseUrl, { schema: name, directory });
    if (pending.length === 0) return;
    if (waited % 30 === 0) {
      log.warn(`waiting for the schema ${name} to be migrated (run: legion migrate)`, { pending });
    }
    await sleep(systemClock, 1_000, signal);
    signal?.throwIfAborted();
  }
}
