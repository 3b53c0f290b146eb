import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { migrate, pendingMigrations } from "#libs/db/migrate.ts";
import { prepared } from "#libs/db/statement.ts";
import { testDatabase } from "../harness/postgres.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

const first = "create table thing (id int primary key);\ninsert into thing values (1);\n";
const second = "insert into thing select max(id) + 1 from thing;";

test("replicas that start at once apply every file once, in order, in their schema", async () => {
  await using database = await testDatabase();
  await using directory = await temporaryDirectory();
  const options = { schema: "registry", directory: directory.path };
  const write = (name: string, text: string): Promise<void> => writeFile(join(directory.path, name), text);
  const run = (): Promise<string[]> => migrate(database.connectionString, options);
  const pending = (): Promise<string[]> => pendingMigrations(database.connectionString, options);
  await write("0001_thing.sql", first);
  await write("0002_more.sql", second);
  await write("README.md", "not a migration");

  assert.deepEqual(await pending(), ["0001_thing.sql", "0002_more.sql"]);
  const applied = await Promise.all([run(), run(), run(), run()]);
  assert.deepEqual(applied.flat().toSorted(), ["0001_thing.sql", "0002_more.sql"]);
  await write("0003_again.sql", second);
  assert.deepEqual(await pending(), ["0003_again.sql"]);
  assert.deepEqual(await run(), ["0003_again.sql"]);
  assert.deepEqual(await pending(), []);

  await using pool = new ConnectionPool({ connectionString: database.connectionString, schema: "registry" });
  assert.deepEqual(await pool.run(prepared("ids", "select array_agg(id order by id)::text as ids from thing")), [
    { ids: "{1,2,3}" },
  ]);

  // What was checked out with other line ends is the same; anything else is not.
  await write("0001_thing.sql", first.replaceAll("\n", "\r\n"));
  assert.deepEqual(await run(), []);
  await write("0002_more.sql", "select 1;");
  await assert.rejects(run(), /0002_more\.sql was changed after it was applied to the schema registry/);
  await assert.rejects(pending(), /was changed/);
  await write("0002_more.sql", second);

  await rm(join(directory.path, "0003_again.sql"));
  await assert.rejects(run(), /registry is newer than this program: it has 0003_again\.sql/);
  assert.deepEqual(await pending(), [], "a program of the release before serves it");
  await write("0003_other.sql", second);
  await assert.rejects(run(), /does not know: 0003_again\.sql/);
  await assert.rejects(pending(), /does not know: 0003_again\.sql/);
});

test("a file that fails leaves nothing of itself, and those before it stay", async () => {
  await using database = await testDatabase();
  await using directory = await temporaryDirectory();
  const options = { schema: "registry", directory: directory.path };
  await writeFile(join(directory.path, "0001_thing.sql"), first);
  await writeFile(join(directory.path, "0002_bad.sql"), "insert into thing values (2); select nonsense;");
  await assert.rejects(
    migrate(database.connectionString, options),
    /0002_bad\.sql failed on the schema registry.*nonsense/,
  );
  assert.deepEqual(await pendingMigrations(database.connectionString, options), ["0002_bad.sql"]);
  await writeFile(join(directory.path, "0002_bad.sql"), second);
  assert.deepEqual(await migrate(database.connectionString, options), ["0002_bad.sql"]);
});

test("a gap and a name that says no order are errors", async () => {
  await using directory = await temporaryDirectory();
  const run = (): Promise<string[]> => migrate("postgres://unused", { schema: "registry", directory: directory.path });
  await writeFile(join(directory.path, "0001_thing.sql"), first);
  await writeFile(join(directory.path, "0003_more.sql"), second);
  await assert.rejects(run(), /Migration 0002 is missing/);
  await rm(join(directory.path, "0003_more.sql"));
  await writeFile(join(directory.path, "fix.sql"), second);
  await assert.rejects(run(), /A migration is called 0001_some_name\.sql/);
});
