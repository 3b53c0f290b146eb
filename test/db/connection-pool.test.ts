import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { test } from "node:test";
import { textArray } from "#libs/db/binary-array.ts";
import { isConnectionFailure, retryWhileDisconnected } from "#libs/db/connection-failure.ts";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { prepared } from "#libs/db/statement.ts";
import { testDatabase } from "../harness/postgres.ts";
import { temporaryDirectory } from "./temporary-directory.ts";

test("outlives a Postgres that is killed and comes back while everybody works", async () => {
  await using directory = await temporaryDirectory();
  await using postgres = await startEmbeddedPostgres({ dataDir: directory.path });
  const states: string[] = [];
  await using pool = new ConnectionPool({
    connectionString: postgres.connectionString,
    schema: "public",
    max: 4,
    onStateChange: (state) => void states.push(state),
  });
  await pool.whenReady();
  await pool.run(prepared("create", "create table item (id text primary key)"));
  const insert = prepared("insert", "insert into item select unnest($1::text[]) on conflict do nothing");
  await using idle = await pool.getSession();

  const perWriter = 300;
  let written = 0;
  let retries = 0;
  const halfway = Promise.withResolvers<void>();
  const writers = ["a", "b", "c"].map(async (writer) => {
    for (let i = 0; i < perWriter; i++) {
      const onRetry = (): void => void retries++;
      await retryWhileDisconnected(() => pool.run(insert, [textArray([`${writer}${i}`])]), { onRetry });
      if (++written === perWriter) halfway.resolve();
    }
  });
  await halfway.promise;
  await postgres.kill();
  // Backends notice the death of their parent a moment later.
  while (await pool.healthCheck()) assert.equal(postgres.pid, undefined);
  assert.equal(pool.getMetrics().state, "disconnected");
  const ready = pool.whenReady();
  await postgres.restart();
  await Promise.all([ready, ...writers]);

  // The session that was checked out and idle meanwhile says so, and its connection is not reused.
  await assert.rejects(idle.run(insert, [textArray(["x"])]), isConnectionFailure);
  const count = await pool.run(prepared<{ count: number }>("count", "select count(*)::int4 from item"));
  assert.deepEqual(count, [{ count: 3 * perWriter }]);
  assert.ok(retries > 0);
  const { state, reconnects, waiting } = pool.getMetrics();
  assert.deepEqual({ state, waiting }, { state: "connected", waiting: 0 });
  assert.ok(reconnects >= 1);
  assert.equal(states[0], "connected");
  assert.ok(states.includes("disconnected"));
});

test("tells a database that is away from a mistake", async () => {
  await using database = await testDatabase();
  const { connectionString } = database;
  await using pool = new ConnectionPool({ connectionString, schema: "public", statementTimeoutMs: 100 });
  const errorOf = async (text: string): Promise<unknown> => {
    await using session = await pool.getSession();
    return await session.execute(text).then(
      () => assert.fail(`${text} succeeded`),
      (error: unknown) => error,
    );
  };
  assert.equal(isConnectionFailure(await errorOf("select nonsense")), false);
  assert.equal(isConnectionFailure(await errorOf("select pg_sleep(10)")), false);
  assert.equal(isConnectionFailure(await errorOf("select pg_terminate_backend(pg_backend_pid())")), true);

  const elsewhere = new URL(connectionString);
  elsewhere.pathname = "/absent";
  await using absent = new ConnectionPool({ connectionString: elsewhere.href, schema: "public" });
  await assert.rejects(absent.whenReady(), /database "absent" does not exist/);

  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  elsewhere.port = String(portOf(server));
  await new Promise((closed) => server.close(closed));
  await using refused = new ConnectionPool({ connectionString: elsewhere.href, schema: "public" });
  await assert.rejects(refused.run(prepared("one", "select 1")), isConnectionFailure);
  const given = AbortSignal.abort();
  await assert.rejects(refused.whenReady(given), isConnectionFailure);
});

test("a network that swallows everything holds nobody for ever", async () => {
  await using database = await testDatabase();
  const address = new URL(database.connectionString);
  const postgresPort = Number(address.port);
  const sockets: Socket[] = [];
  let swallow = false;
  const proxy = createServer((client) => {
    const upstream = connect(postgresPort, address.hostname);
    sockets.push(client, upstream);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on("data", (data) => swallow || to.write(data));
      from.on("error", () => to.destroy());
      from.on("close", () => swallow || to.destroy());
    }
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  address.port = String(portOf(proxy));
  try {
    await using pool = new ConnectionPool({
      connectionString: address.href,
      schema: "public",
      connectTimeoutMs: 300,
      statementTimeoutMs: 100,
    });
    await pool.whenReady();
    swallow = true;
    await assert.rejects(pool.run(prepared("one", "select 1")), isConnectionFailure);
    await assert.rejects(pool.run(prepared("one", "select 1")), isConnectionFailure);
    assert.equal(await pool.healthCheck(50), false);
  } finally {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  }
});

test("a transaction commits, rolls back when it throws, and does not hide an error that was swallowed", async () => {
  await using database = await testDatabase();
  await using pool = new ConnectionPool({ connectionString: database.connectionString, schema: "public", max: 1 });
  await pool.run(prepared("create", "create table item (id int4 primary key)"));
  const insert = prepared("insert", "insert into item values ($1)");
  const ids = async (): Promise<number[]> =>
    (await pool.run(prepared<{ id: number }>("ids", "select id from item order by id"))).map(({ id }) => id);

  assert.equal(await pool.transaction(async (session) => (await session.run(insert, [1]), "done")), "done");
  await assert.rejects(
    pool.transaction(async (session) => {
      await session.run(insert, [2]);
      throw new Error("changed my mind");
    }),
    /changed my mind/,
  );
  await assert.rejects(
    pool.transaction(async (session) => {
      await session.run(insert, [3]);
      await session.run(insert, [1]).catch(() => {});
    }),
    /rolled back/,
  );
  await assert.rejects(
    pool.transaction(async (session) => {
      await session.run(insert, [4]);
      await session.execute("select pg_terminate_backend(pg_backend_pid())");
    }),
    isConnectionFailure,
  );
  {
    await using session = await pool.getSession();
    await session.execute("begin");
    await session.run(insert, [5]);
  }
  assert.deepEqual(await ids(), [1]);
});

test("a statement whose columns changed is prepared again, and values that cannot be sent leave the connection usable", async () => {
  await using database = await testDatabase();
  await using pool = new ConnectionPool({ connectionString: database.connectionString, schema: "public", max: 1 });
  await pool.run(prepared("create", "create table item (id int4 primary key)"));
  const all = prepared<object>("all", "select * from item");
  await pool.run(prepared("insert", "insert into item values ($1)"), [7]);
  assert.deepEqual(await pool.run(all), [{ id: 7 }]);
  assert.deepEqual(await pool.run(all), [{ id: 7 }]);
  await pool.run(prepared("alter", "alter table item add name text default 'x'"));
  await assert.rejects(pool.run(all), /cached plan must not change result type/);
  assert.deepEqual(await pool.run(all), [{ id: 7, name: "x" }]);

  const echo = prepared<{ value: string }>("echo", "select $1::text as value");
  await assert.rejects(pool.run(echo, [["an", "array"]]), TypeError);
  assert.deepEqual(await pool.run(echo, ["still here"]), [{ value: "still here" }]);
  await assert.rejects(pool.run(prepared("echo", "select 2")), /Two statements are called public.echo/);
  assert.deepEqual(await pool.run(echo, [null]), [{ value: null }]);
});

test("columns become what the docs say, for statements and for Kysely", async () => {
  await using database = await testDatabase();
  const settings = { plan_cache_mode: "force_generic_plan", work_mem: "5 MB" };
  await using pool = new ConnectionPool({ connectionString: database.connectionString, schema: "public", settings });
  await pool.run(
    prepared(
      "create",
      `create view sample as select 9223372036854775807::int8 as big, 3::int4 as small, 1.5::float8 as float, true as yes,
         '\\x00ff80'::bytea as bytes, '2026-01-02 03:04:05.678901+02'::timestamptz as time,
         '0044-03-15 10:00:00+00 BC'::timestamptz as ides, '12026-01-01 00:00:00.5+00'::timestamptz as far,
         '1969-12-31 23:59:59.9+00'::timestamptz as before, 'infinity'::timestamptz as forever,
         '{1,null,-2}'::int8[] as bigs, '{"a":[1]}'::jsonb as json, null::int8 as nothing, 0.1::numeric as exact,
         current_setting('work_mem') as setting, current_setting('search_path') as path`,
    ),
  );
  const ides = new Date(0);
  ides.setUTCFullYear(-43, 2, 15);
  ides.setUTCHours(10);
  const expected = {
    big: 9223372036854775807n,
    small: 3,
    float: 1.5,
    yes: true,
    bytes: Buffer.from([0, 255, 128]),
    time: new Date("2026-01-02T01:04:05.678Z"),
    ides,
    far: new Date("+012026-01-01T00:00:00.500Z"),
    before: new Date("1969-12-31T23:59:59.900Z"),
    forever: new Date(8.64e15),
    bigs: [1n, null, -2n],
    json: { a: [1] },
    nothing: null,
    exact: "0.1",
    setting: "5MB",
    path: "public",
  };
  assert.deepEqual(await pool.run(prepared<object>("sample", "select * from sample")), [expected]);
  const kysely = pool.kysely<{ sample: typeof expected }>();
  assert.deepEqual(await kysely.selectFrom("sample").selectAll().execute(), [expected]);
  await kysely.destroy();
  assert.equal(await pool.healthCheck(), true);
});

function portOf(server: Server): number {
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}
