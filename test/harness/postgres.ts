import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";

export interface TestDatabase extends AsyncDisposable {
  readonly connectionString: string;
}

/**
 * A database of its own on a Postgres that all tests of this process share: the one of `TEST_DATABASE_URL` (whose role must
 * be allowed to create databases), else an embedded one that is gone after the tests, whatever became of them.
 */
export async function testDatabase(): Promise<TestDatabase> {
  const server = process.env["TEST_DATABASE_URL"] ?? (await (embedded ??= startShared())).connectionString;
  const name = `test_${randomBytes(6).toString("hex")}`;
  await execute(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return {
    connectionString: url.href,
    // A test may have stopped its Postgres or left connections open.
    [Symbol.asyncDispose]: () => execute(server, `drop database ${name} with (force)`),
  };
}

let embedded: Promise<EmbeddedPostgres> | undefined;

async function startShared(): Promise<EmbeddedPostgres> {
  const postgres = await startWatched(throwaway);
  postgres.unref();
  return postgres;
}

/** A Postgres of one's own, to kill and start again; as safe of its data as any. Gone after the tests as well. */
export async function ownPostgres(): Promise<EmbeddedPostgres> {
  return await startWatched({ shared_buffers: "64MB" });
}

async function startWatched(settings: Readonly<Record<string, string>>): Promise<EmbeddedPostgres> {
  const dataDir = await mkdtemp(join(tmpdir(), "legion-test-"));
  const watcher = spawn("/bin/sh", ["-c", cleanUp, "sh", dataDir], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  watcher.unref();
  if (watcher.stdin instanceof Socket) watcher.stdin.unref();
  return await startEmbeddedPostgres({ dataDir, settings });
}

// Reads until this process ends, be it by kill -9: the kernel closes the pipe.
const cleanUp = `
  read -r _
  pid=$(head -n 1 "$1/postgres/postmaster.pid") && kill -QUIT "$pid"
  for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" || break; sleep 0.1; done
  rm -rf "$1"`;

// Its data outlive nothing, so they need not be synced; tests of a crash start a Postgres of their own.
const throwaway = { fsync: "off", synchronous_commit: "off", full_page_writes: "off", shared_buffers: "64MB" };

async function execute(connectionString: string, text: string): Promise<void> {
  const client = new Client({ connectionString });
  client.on("error", () => {});
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}
