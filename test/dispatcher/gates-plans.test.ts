import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { cancelWaiting } from "../../services/dispatcher/sql/cancel-task.ts";
import { claimTasks } from "../../services/dispatcher/sql/claim-tasks.ts";
import { findParked } from "../../services/dispatcher/sql/find-parked.ts";
import { insertLimitedTasks } from "../../services/dispatcher/sql/insert-limited-tasks.ts";
import { insertTasks, type NewTask } from "../../services/dispatcher/sql/insert-tasks.ts";
import { gateKeys, laneKeys } from "../../services/dispatcher/sql/lanes.ts";
import { poolSettings } from "../../services/dispatcher/sql/pool-settings.ts";
import { refreshStatistics } from "../../services/dispatcher/sql/refresh-statistics.ts";
import { resolveAttempts } from "../../services/dispatcher/sql/resolve-attempts.ts";
import { claimHeads, endRound, nextHeadDelayMs, readGates, readParked } from "../../services/dispatcher/sql/rounds.ts";
import { dropSegment, makeSegments, readSegments } from "../../services/dispatcher/sql/segments.ts";
import { testDatabase, type TestDatabase } from "../harness/postgres.ts";
import { migrateDispatcher } from "./harness.ts";

const parked = 100_000;
let database: TestDatabase;
let pool: ConnectionPool;
let segment: number;

before(async () => {
  database = await testDatabase();
  const { connectionString } = database;
  await migrateDispatcher(connectionString);
  // One connection, so that every statement is planned once, while the tables are empty.
  pool = new ConnectionPool({ connectionString, schema: "dispatcher", max: 1, settings: poolSettings });
  await makeSegments(pool);
  segment = (await readSegments(pool)).current;
});
after(async () => {
  await pool[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

async function laneOf(user: string, kind: "rate" | "slots"): Promise<{ laneKey: number; gateKey: number }> {
  const [gateKey = 0] = await gateKeys(pool, [{ namespace: "default", limit: kind, key: user }]);
  const gates = kind === "rate" ? { rateGates: [gateKey], slotGates: [] } : { rateGates: [], slotGates: [gateKey] };
  const lanes = await laneKeys(pool, [{ routeKey: kind === "rate" ? 0 : 1, ...gates }]);
  return { laneKey: [...lanes.values()][0]!, gateKey };
}

let lastId = 0;
const task = (sessionKey: number | null = null): NewTask => ({
  namespace: "default",
  taskId: `t${++lastId}`,
  capability: "noop",
  user: "",
  spec: Buffer.alloc(50),
  routeKey: 1,
  rank: 0,
  sessionKey,
  dueTimeMs: null,
});
const place = () => ({ segment, instanceKey: 1 });
const limited = (laneKey: number, parks: boolean, sessionKey: number | null = null) => ({
  ...task(sessionKey),
  lane: { laneKey, parks, paid: !parks, queuesUp: true, waitMs: 3_600_000, blockedBy: null, spent: null },
});

const flush = prepared("flush_statistics", "select pg_stat_force_next_flush()");
const counted = prepared<{ rows: number; blocks: number }>(
  "counted",
  `
  select (select sum(seq_tup_read) from pg_stat_user_tables)::float8
      + (select sum(idx_tup_read) from pg_stat_user_indexes)::float8 as rows,
    (select sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit) from pg_statio_user_tables)::float8 as blocks`,
);

async function costOf(run: () => Promise<unknown>): Promise<{ rows: number; blocks: number }> {
  const read = async () => {
    await pool.run(flush);
    return (await pool.run(counted))[0]!;
  };
  const from = await read();
  await run();
  const to = await read();
  return { rows: to.rows - from.rows, blocks: to.blocks - from.blocks };
}

async function costs(ada: number, bob: number): Promise<Record<string, { rows: number; blocks: number }>> {
  const sessionKey = 1;
  const outcome = Buffer.alloc(20);
  const done = { attempt: 1, sessionKey, state: 4, outcome, attempts: 0, lastFailure: null, delayMs: 0 };
  const free = (await insertTasks(pool, [task(sessionKey)], place()))[0]!;
  const own = (await insertLimitedTasks(pool, [limited(bob, false, sessionKey)], place()))[0]!;
  await insertTasks(pool, [task()], place());
  const waiting = (await insertLimitedTasks(pool, [limited(ada, true)], place()))[0]!;
  const claim = () =>
    claimTasks(pool, { routeKey: 1, sessionKeys: [sessionKey], from: { rank: -2_000, taskKey: 0 }, instanceKey: 1 });
  return {
    "a free task comes in": await costOf(() => insertTasks(pool, [task()], place())),
    "a free task is claimed": await costOf(claim),
    "a free task ends": await costOf(() => resolveAttempts(pool, [{ ...done, taskKey: free.taskKey }])),
    "another user's task comes in": await costOf(() => insertLimitedTasks(pool, [limited(bob, false)], place())),
    "another user's task ends": await costOf(() => resolveAttempts(pool, [{ ...done, taskKey: own.taskKey }])),
    "one more is parked": await costOf(() => insertLimitedTasks(pool, [limited(ada, true)], place())),
    "due lanes are looked for": await costOf(() => claimHeads(pool, [], { limit: 100, claimMs: 1 })),
    "the next time is looked for": await costOf(() => nextHeadDelayMs(pool)),
    "a parked task is canceled": await costOf(() =>
      cancelWaiting(pool, { taskKey: waiting.taskKey, segment, routeKey: 1, rank: 0 }, outcome),
    ),
  };
}

test("100,000 parked tasks of one user cost others nothing, by what is read", async () => {
  const { laneKey: ada } = await laneOf("ada", "rate");
  const { laneKey: bob } = await laneOf("bob", "rate");
  await costs(ada, bob);
  const empty = await costs(ada, bob);
  for (let i = 0; i < parked; i += 1_000) {
    await insertLimitedTasks(
      pool,
      Array.from({ length: 1_000 }, () => limited(ada, true)),
      place(),
    );
    // As a Dispatcher does once a second.
    if (i % 10_000 === 0) await refreshStatistics(pool);
  }
  await refreshStatistics(pool);
  await costs(ada, bob);
  const full = await costs(ada, bob);
  for (const [what, { rows, blocks }] of Object.entries(full)) {
    const before_ = empty[what]!;
    assert.ok(rows <= before_.rows + 10, `${what}: ${rows} rows, ${before_.rows} without them`);
    // An index grows by a level or two.
    assert.ok(blocks <= before_.blocks + 30, `${what}: ${blocks} blocks, ${before_.blocks} without them`);
  }
  const table = Object.entries(full).map(([what, cost]) => ({ what, ...cost, without: empty[what] }));
  if (process.env["SHOW"] !== undefined) console.table(table);
});

test("a round reads no more of a lane than it can let on, and takes slots exactly", async () => {
  const { laneKey, gateKey } = await laneOf("eve", "slots");
  const entries = Array.from({ length: 1_000 }, () => limited(laneKey, true));
  for (const entry of entries) entry.lane.waitMs = 0;
  await insertLimitedTasks(pool, entries, place());
  const claimed = (await claimHeads(pool, [], { limit: 100, claimMs: 60_000 })).find(
    (lane) => lane.lane_key === laneKey,
  )!;
  assert.equal(claimed.is_served, false);
  assert.deepEqual(await claimHeads(pool, [gateKey], { limit: 100, claimMs: 60_000 }), [], "it is somebody's");
  let rows: Awaited<ReturnType<typeof readParked>> = [];
  const cost = await costOf(async () => (rows = await readParked(pool, [laneKey], 20)));
  assert.equal(rows.length, 20);
  assert.ok(cost.rows < 100, `${cost.rows} rows`);
  const end = (turn: number) =>
    endRound(pool, {
      lanes: [{ laneKey, turn, delayMs: -1, blockedBy: null }],
      tasks: rows.map((row) => ({ laneKey, rank: row.rank, taskKey: row.task_key })),
      maxima: [{ gateKey, max: 7 }],
      recheckMs: 60_000,
    });
  assert.deepEqual(await end(claimed.turn - 1), [], "whose turn is over changes nothing");
  let moved: Awaited<ReturnType<typeof end>> = [];
  const ended = await costOf(async () => (moved = await end(claimed.turn)));
  assert.ok(ended.rows < 300, `${ended.rows} rows`);
  assert.deepEqual(
    moved.map(({ taskKey }) => taskKey).toSorted((a, b) => a - b),
    rows.slice(0, 7).map((row) => row.task_key),
  );
  assert.equal((await readGates(pool, [gateKey]))[0]!.held, 7);
  assert.equal((await findParked(pool, rows[7]!.task_key))?.limit_name, "slots");
  const canceled = await cancelWaiting(
    pool,
    { taskKey: rows[0]!.task_key, segment, routeKey: 1, rank: 0 },
    Buffer.alloc(5),
  );
  assert.deepEqual(canceled?.gates, [gateKey], "who waits for the slot is told of");
  assert.equal((await readGates(pool, [gateKey]))[0]!.held, 6);
});

test("a parked task outlives its day", async () => {
  const { laneKey } = await laneOf("old", "rate");
  const [stored] = await insertLimitedTasks(pool, [limited(laneKey, true)], place());
  await dropSegment(pool, segment, { moveTo: segment + 1, retentionMs: 0 });
  const [row] = await readParked(pool, [laneKey], 1);
  assert.deepEqual([row?.task_key, row?.segment], [stored!.taskKey, segment + 1]);
});
