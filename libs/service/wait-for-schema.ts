import { fileURLToPath } from "node:url";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { errorField } from "#libs/db/errors.ts";
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
  let latest: unknown;
  const tell = (err: unknown): void => {
    if (latest === undefined) log.warn("Postgres does not answer; waiting for it", { err });
    latest = err;
  };
  readiness.add("start", () => `waiting for Postgres to answer${reasonOf(latest)}`);
  try {
    await pool.whenReady(signal, tell);
  } catch (error) {
    signal?.throwIfAborted();
    throw refusal(error) ?? error;
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

/** In brackets; of several addresses that were tried, what the first said. */
function reasonOf(error: unknown): string {
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  return first instanceof Error && first.message !== "" ? ` (${first.message})` : "";
}

/** What Postgres itself says, such as that the password is wrong: trying again does not help, and it is no fault of ours. */
function refusal(error: unknown): Error | undefined {
  if (!(error instanceof Error) || errorField(error, "severity") === undefined) return undefined;
  const message = `DATABASE_URL cannot be used: Postgres refuses (${error.message}).`;
  return Object.assign(new Error(message, { cause: error }), { expected: true });
}
