import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { migrate } from "#libs/db/migrate.ts";
import { prepared } from "#libs/db/statement.ts";
import { claimTasks } from "../../services/dispatcher/sql/claim-tasks.ts";
import { findOutcomes, findTasks } from "../../services/dispatcher/sql/find-tasks.ts";
import { insertTasks, type NewTask } from "../../services/dispatcher/sql/insert-tasks.ts";
import { poolSettings } from "../../services/dispatcher/sql/pool-settings.ts";
import { refreshStatistics } from "../../services/dispatcher/sql/refresh-statistics.ts";
import { resolveAttempts } from "../../services/dispatcher/sql/resolve-attempts.ts";
import { makeSegments, readSegments } from "../../services/dispatcher/sql/segments.ts";
import { testDatabase, type TestDatabase } from "../harness/postgres.ts";

const directory = new URL("../../services/dispatcher/sql/migrations/", import.meta.url).pathname;
let database: TestDatabase;
let pool: ConnectionPool;
let segment: number;

before(async () => {
  database = await testDatabase();
  await migrate(database.connectionString, { schema: "dispatcher", directory });
  // One connection, so that every statement is planned once and its plan is seen to be used.
  const { connectionString } = database;
  pool = new ConnectionPool({ connectionString, schema: "dispatcher", max: 1, settings: poolSettings });
  await makeSegments(pool);
  segment = (await readSegments(pool)).current;
});
after(async () => {
  await pool[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const sessionKey = 1;
let lastId = 0;

async function submit(count: number, leased: boolean): Promise<{ ids: string[]; taskKeys: number[] }> {
  const tasks: NewTask[] = Array.from({ length: count }, () => ({
    namespace: "default",
    taskId: `t${++lastId}`,
    capability: "noop",
    user: "",
    spec: Buffer.alloc(200),
    routeKey: 1,
    rank: 0,
    sessionKey: leased ? sessionKey : null,
    dueTimeMs: null,
  }));
  const inserted = await insertTasks(pool, tasks, { segment, instanceKey: 1 });
  return { ids: tasks.map(({ taskId }) => taskId), taskKeys: inserted.map((task) => task!.taskKey) };
}

const claim = () =>
  claimTasks(pool, { routeKey: 1, sessionKeys: [sessionKey], from: { rank: -2_000, taskKey: 0 }, instanceKey: 1 });

const resolve = async (taskKeys: number[]) => {
  const outcome = Buffer.alloc(50);
  const answer = await resolveAttempts(
    pool,
    taskKeys.map((taskKey) => ({
      taskKey,
      attempt: 1,
      sessionKey,
      state: 4,
      outcome,
      attempts: 0,
      lastFailure: null,
      delayMs: 0,
    })),
  );
  assert.ok(answer.every((held) => held !== false));
};

const flush = prepared("flush_statistics", "select pg_stat_force_next_flush()");
const rowsRead = prepared<{ rows: number }>(
  "rows_read",
  `
  select (select sum(seq_tup_read) from pg_stat_user_tables)::float8
    + (select sum(idx_tup_read) from pg_stat_user_indexes)::float8 as rows`,
);

async function read(): Promise<number> {
  await pool.run(flush);
  return (await pool.run(rowsRead))[0]!.rows;
}

async function rowsReadBy(run: () => Promise<unknown>): Promise<number> {
  const before_ = await read();
  await run();
  return (await read()) - before_;
}

test("plans that were made while the tables were empty do not read all of them when they are full", async () => {
  {
    await using session = await pool.getSession();
    await session.execute("vacuum analyze");
  }
  const one = async (leased: boolean): Promise<Record<string, number>> => {
    const { ids, taskKeys } = await submit(1, leased);
    const id = { namespace: "default", taskId: ids[0]! };
    return {
      insert: await rowsReadBy(() => submit(1, true)),
      find: await rowsReadBy(() => findTasks(pool, [id])),
      claim: await rowsReadBy(claim),
      resolve: leased ? await rowsReadBy(() => resolve(taskKeys)) : 0,
      outcomes: await rowsReadBy(() => findOutcomes(pool, [{ segment, taskKey: taskKeys[0]! }])),
    };
  };
  await one(false);
  await one(true);
  for (let i = 0; i < 30; i++) await submit(500, i % 2 === 0);
  assert.ok((await refreshStatistics(pool)) > 0, "some have outgrown what is known of them");
  assert.equal(await refreshStatistics(pool), 0, "once is enough");
  for (const [statement, rows] of Object.entries(await one(true))) {
    assert.ok(rows < 100, `${statement} read ${rows} rows for one task of 15,000`);
  }
});
