import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import { migrate } from "#libs/db/migrate.ts";
import { packageRoot } from "./package-root.ts";
import { StartError } from "./start-error.ts";

export interface SchemaMigrations {
  /** The service's name is its schema's. */
  readonly schema: string;
  readonly directory: string;
}

/** The schemas of this checkout: one for each `services/<name>/sql/migrations`. */
export function schemaMigrations(root: string = packageRoot): SchemaMigrations[] {
  const services = join(root, "services");
  return readdirSync(services)
    .toSorted()
    .map((schema) => ({ schema, directory: join(services, schema, "sql", "migrations") }))
    .filter(({ directory }) => existsSync(directory));
}

/**
 * Brings every schema up to date, side by side.
 * @throws StartError when the database cannot be reached.
 */
export async function migrateAll(connectionString: string): Promise<void> {
  try {
    await Promise.all(schemaMigrations().map((schema) => migrate(connectionString, schema)));
  } catch (error) {
    if (!isConnectionFailure(error)) throw error;
    const { host } = URL.parse(connectionString) ?? { host: "" };
    const why = (error as Error).message || (error as NodeJS.ErrnoException).code;
    throw new StartError(
      `The database at ${host} cannot be reached (${why}): start it, or unset DATABASE_URL to use the embedded one.`,
    );
  }
}
