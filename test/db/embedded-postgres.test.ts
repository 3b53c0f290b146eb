import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { prepared, type Statement } from "#libs/db/statement.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

async function query<Row>(postgres: { connectionString: string }, statement: Statement<Row>): Promise<Row[]> {
  await using pool = new ConnectionPool({ connectionString: postgres.connectionString, schema: "public" });
  return await pool.run(statement);
}

const create = prepared("create", "create table kept as select 42 as answer");
const kept = prepared("kept", "select * from kept");

function isAlive(pid: number): boolean {
  // A killed process whose parent died waits as a zombie until somebody collects it.
  return existsSync(`/proc/${pid}/fd/0`);
}

/** A process that owns the data directory and tells its Postgres. */
async function startOwner(dataDir: string) {
  const module = import.meta.resolve("#libs/db/embedded-postgres.ts");
  const script = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(module)});
    const { pid, connectionString } = await startEmbeddedPostgres({ dataDir: process.argv[1] });
    console.log(JSON.stringify({ pid, connectionString }));`;
  const owner = spawn(process.execPath, ["--input-type=module", "-e", script, dataDir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await once(createInterface({ input: owner.stdout }), "line");
  const postgres: { pid: number; connectionString: string } = JSON.parse(line);
  return { owner, postgres };
}

test("starts, stops, is killed, starts again on its port, and keeps what was committed", async () => {
  await using directory = await temporaryDirectory();
  const lines: string[] = [];
  const options = {
    dataDir: directory.path,
    log: (line: string) => void lines.push(line),
    settings: { work_mem: "3MB" },
  };
  let first: EmbeddedPostgres;
  {
    await using postgres = await startEmbeddedPostgres(options);
    first = postgres;
    await query(postgres, create);
    const { pid } = postgres;
    await postgres.kill();
    assert.deepEqual(await postgres.exited, { code: null, signal: "SIGKILL" });
    assert.equal(postgres.pid, undefined);
    await postgres.restart();
    assert.notEqual(postgres.pid, pid);
    assert.deepEqual(await query(postgres, kept), [{ answer: 42 }]);
    await postgres.stop();
    assert.deepEqual(await postgres.exited, { code: 0, signal: null });
    await Promise.all([postgres.restart(), postgres.restart()]);
    const settings = "select current_setting('work_mem') || ' ' || current_setting('fsync') as settings";
    assert.deepEqual(await query(postgres, prepared("settings", settings)), [{ settings: "3MB on" }]);
  }
  await assert.rejects(first.restart(), /disposed/);
  assert.ok(lines.some((line) => line.includes("ready to accept connections")));
  const { mode } = await stat(join(directory.path, "password"));
  assert.equal(mode & 0o777, 0o600);
  const withoutPassword = first.connectionString.replace(/:[^:@]+@/, "@");
  await using again = await startEmbeddedPostgres({ ...options, port: first.port });
  assert.equal(again.port, first.port);
  assert.deepEqual(await query(again, kept), [{ answer: 42 }]);
  await assert.rejects(query({ connectionString: withoutPassword }, kept), /password/);
});

test("a directory with a living owner is refused; when the owner was killed its Postgres is replaced", async () => {
  await using directory = await temporaryDirectory();
  const { owner, postgres: orphan } = await startOwner(directory.path);
  await query(orphan, create);
  await assert.rejects(startEmbeddedPostgres({ dataDir: directory.path }), (error: Error) => {
    assert.match(error.message, /in use by another process/);
    assert.ok(error.message.includes(directory.path));
    assert.ok(error.message.includes(String(owner.pid)));
    return true;
  });

  owner.kill("SIGKILL");
  await once(owner, "exit");
  assert.ok(isAlive(orphan.pid));
  await using postgres = await startEmbeddedPostgres({ dataDir: directory.path });
  assert.ok(!isAlive(orphan.pid));
  assert.deepEqual(await query(postgres, kept), [{ answer: 42 }]);
});

test("two in one process exclude each other, too", async () => {
  await using directory = await temporaryDirectory();
  const dataDir = directory.path;
  const outcomes = await Promise.allSettled([startEmbeddedPostgres({ dataDir }), startEmbeddedPostgres({ dataDir })]);
  assert.deepEqual(outcomes.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
  for (const outcome of outcomes) if (outcome.status === "fulfilled") await outcome.value[Symbol.asyncDispose]();
});

test("a stranger that got the number of the last Postgres does not prevent a start", async () => {
  await using directory = await temporaryDirectory();
  const dataDir = directory.path;
  await using postgres = await startEmbeddedPostgres({ dataDir });
  await postgres[Symbol.asyncDispose]();
  const { uid, gid } = await stat(join(dataDir, "postgres"));
  const stranger = spawn("sleep", ["60"], { uid, gid });
  try {
    await once(stranger, "spawn");
    const pidFile = join(dataDir, "postgres", "postmaster.pid");
    await writeFile(pidFile, `${stranger.pid}\n${join(dataDir, "postgres")}\n1\n5432\n\n127.0.0.1\n`);
    await using next = await startEmbeddedPostgres({ dataDir });
    assert.ok(next.pid);
    assert.ok(isAlive(stranger.pid!));
  } finally {
    stranger.kill();
  }
});

test("a start that fails says what Postgres said and gives the directory free", async () => {
  await using directory = await temporaryDirectory();
  const dataDir = directory.path;
  await assert.rejects(
    startEmbeddedPostgres({ dataDir, settings: { shared_buffers: "lots" } }),
    /invalid value for parameter/,
  );
  await using postgres = await startEmbeddedPostgres({ dataDir });
  assert.ok(postgres.pid);
});
