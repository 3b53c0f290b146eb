import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import { assertSchemaName } from "./connection-settings.ts";

export interface MigrateOptions {
  readonly schema: string;
  /** Holds `0001_name.sql`, `0002_other.sql` and so on, without a gap. */
  readonly directory: string;
  /** Told the name of each file before it runs. */
  readonly log?: (message: string) => void;
}

interface Migration {
  readonly name: string;
  readonly text: string;
  readonly checksum: string;
}

/**
 * Brings a schema to the newest file, making it first if need be, and returns the names of what it applied. Forward only.
 * Any number of replicas may call it at once: one works, the others wait and find nothing to do. Each file is one
 * transaction, with the schema as its search path; so no `create index concurrently`.
 *
 * @throws when an applied file was changed or is missing, when numbers have a gap, and when the database was migrated by
 *   newer code than this. Nothing is applied then. When a file fails, those before it stay applied.
 */
export async function migrate(connectionString: string, options: MigrateOptions): Promise<string[]> {
  const migrations = await readMigrations(options);
  return await withClient(connectionString, async (client) => {
    // Held until the connection ends, so also when this process is killed.
    await client.query("select pg_advisory_lock(hashtextextended($1, 0))", [`migrate ${options.schema}`]);
    await createBookkeeping(client, options.schema);
    const pending = pendingOf(migrations, await readApplied(client, options.schema), options.schema);
    for (const migration of pending) {
      options.log?.(`migrating ${options.schema}: ${migration.name}`);
      await apply(client, options.schema, migration);
    }
    return pending.map((migration) => migration.name);
  });
}

/**
 * The names `migrate` would apply; changes nothing and throws what `migrate` would throw before it begins, but for a schema that is
 * newer than this code: that is served, for a migration leaves the programs of the release before it working.
 */
export async function pendingMigrations(connectionString: string, options: MigrateOptions): Promise<string[]> {
  const migrations = await readMigrations(options);
  return await withClient(connectionString, async (client) => {
    const newest = migrations.at(-1)?.name.slice(0, 4) ?? "";
    const all = await readApplied(client, options.schema);
    const applied = new Map([...all].filter(([name]) => name.slice(0, 4) <= newest));
    return pendingOf(migrations, applied, options.schema).map((migration) => migration.name);
  });
}

async function readMigrations({ schema, directory }: MigrateOptions): Promise<Migration[]> {
  assertSchemaName(schema);
  const names = (await readdir(directory)).filter((name) => name.endsWith(".sql")).toSorted();
  for (const [index, name] of names.entries()) {
    const expected = String(index + 1).padStart(4, "0");
    if (!/^\d{4}_[a-z0-9_]+\.sql$/.test(name)) {
      throw new Error(`A migration is called 0001_some_name.sql, not ${join(directory, name)}`);
    }
    if (!name.startsWith(expected)) throw new Error(`Migration ${expected} is missing in ${directory}: found ${name}`);
  }
  return await Promise.all(
    names.map(async (name) => {
      // A checkout on Windows is the same migration.
      const text = (await readFile(join(directory, name), "utf8")).replaceAll("\r\n", "\n");
      return { name, text, checksum: createHash("sha256").update(text).digest("hex") };
    }),
  );
}

function pendingOf(migrations: Migration[], applied: Map<string, string>, schema: string): Migration[] {
  const known = new Set(migrations.map((migration) => migration.name));
  const unknown = [...applied.keys()].filter((name) => !known.has(name));
  if (unknown.length > 0) {
    const newest = migrations.at(-1)?.name ?? "";
    throw new Error(
      unknown.every((name) => name.slice(0, 4) > newest.slice(0, 4))
        ? `The schema ${schema} is newer than this program: it has ${unknown.join(", ")}. Run a newer version.`
        : `The schema ${schema} has migrations that this program does not know: ${unknown.join(", ")}.`,
    );
  }
  for (const { name, checksum } of migrations) {
    if (applied.has(name) && applied.get(name) !== checksum) {
      throw new Error(
        `${name} was changed after it was applied to the schema ${schema}. Undo that and add a new file.`,
      );
    }
  }
  // Nothing unknown and no gap among the files: were one missing in the middle, a later one would have been applied early.
  const pending = migrations.slice(applied.size);
  const early = pending.find(({ name }) => applied.has(name));
  if (early) throw new Error(`The schema ${schema} has ${early.name} but lacks one before it.`);
  return pending;
}

async function createBookkeeping(client: Client, schema: string): Promise<void> {
  // "if not exists" asks for the right to create even when there is nothing to do.
  const { rowCount } = await client.query("select from pg_namespace where nspname = $1", [schema]);
  if (rowCount === 0) await client.query(`create schema ${schema}`);
  await client.query(
    `create table if not exists ${schema}.migrations (
      name text primary key,
      checksum text not null,
      applied_time timestamptz not null default now()
    )`,
  );
}

async function readApplied(client: Client, schema: string): Promise<Map<string, string>> {
  const table = await client.query<{ exists: boolean }>("select to_regclass($1) is not null as exists", [
    `${schema}.migrations`,
  ]);
  if (!table.rows[0]!.exists) return new Map();
  const { rows } = await client.query<{ name: string; checksum: string }>(
    `select name, checksum from ${schema}.migrations order by name`,
  );
  return new Map(rows.map((row) => [row.name, row.checksum]));
}

async function apply(client: Client, schema: string, { name, text, checksum }: Migration): Promise<void> {
  await client.query("begin");
  try {
    await client.query(`set local search_path = ${schema}`);
    await client.query(text);
    await client.query(`insert into ${schema}.migrations (name, checksum) values ($1, $2)`, [name, checksum]);
    await client.query("commit");
  } catch (cause) {
    // The connection ends with the error, and the transaction with it.
    throw new Error(`${name} failed on the schema ${schema}: ${String(cause)}`, { cause });
  }
}

async function withClient<T>(connectionString: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString, application_name: "migrate", keepAlive: true });
  // The statement under way reports it; without a listener it would end the process.
  client.on("error", () => {});
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
