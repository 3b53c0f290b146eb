import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { errorReason } from "#libs/rpc/errors.ts";
import { insertTasks } from "../../services/dispatcher/sql/insert-tasks.ts";
import { dropSegment, isSegmentOver, makeSegments, readSegments } from "../../services/dispatcher/sql/segments.ts";
import { waitFor } from "../harness/wait-for.ts";
import { completed, createWorld, resultOf, type World } from "./harness.ts";

let world: World;
let pool: ConnectionPool;

before(async () => {
  world = await createWorld();
  pool = new ConnectionPool({ connectionString: world.databaseUrl, schema: "dispatcher", max: 2 });
});
after(async () => {
  await pool[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

const week = 7 * 86_400_000;

/** Moves today's tasks into a segment of so many days ago, as if they had been accepted then. */
async function age(days: number): Promise<number> {
  const { current } = await readSegments(pool);
  const old = current - days;
  await pool.transaction(async (session) => {
    for (const table of ["tasks", "outcomes"]) {
      await session.execute(`
        create table ${table}_${old} (like ${table} including all);
        alter table ${table} attach partition ${table}_${old} for values in (${old});
        update ${table} set segment = ${old} where segment = ${current}`);
    }
    for (const table of ["queue", "leases", "scheduled"]) await session.execute(`update ${table} set segment = ${old}`);
    await session.execute(`update tasks set submit_time = now() - interval '${days} days' where segment = ${old}`);
  });
  return old;
}

const kept = prepared<{ task_id: string; segment: number }>(
  "kept",
  "select task_id, segment from tasks order by task_id",
);

test("a day that is dropped takes with it what has long ended; all else moves, runs, and keeps its id", async () => {
  const dispatcher = await world.dispatcher();
  const { client } = dispatcher;
  const registry = await world.registry(dispatcher);
  const session = await registry.attach({ capabilities: [{ name: "old" }], slots: 3 });
  const submit = (taskId: string, more: object = {}) =>
    client.submitTask({ task: { taskId, capability: "old", ...more } });
  for (const id of ["ended-long-ago", "ended-lately", "leased"]) await submit(id);
  await session.assignments.take(3);
  await session.answer({ taskId: "ended-long-ago", attempt: 1 }, completed());
  await session.answer({ taskId: "ended-lately", attempt: 1 }, completed({ kept: true }));
  await session.update({ slots: 0, weight: 100 });
  await submit("queued");
  await submit("scheduled", { runTime: { seconds: 253_000_000_000n } });
  const old = await age(30);
  await pool.transaction((session_) =>
    session_.execute(`
      update outcomes set finish_time = now() - interval '29 days'
      where task_key = (select task_key from tasks where task_id = 'ended-long-ago')`),
  );

  // It is started after the days have passed, and finds what is due to be dropped.
  const later = await world.dispatcher();
  await waitFor(async () => !(await readSegments(pool)).all.includes(old), { describe: "the old day to be dropped" });
  const { current, all } = await readSegments(pool);
  assert.deepEqual(all, [current, current + 1]);
  const rows = await pool.run(kept);
  assert.deepEqual(
    rows,
    ["ended-lately", "leased", "queued", "scheduled"].map((task_id) => ({ task_id, segment: current })),
  );

  await assert.rejects(
    later.client.getTask({ taskId: "ended-long-ago" }),
    (error) => errorReason(error) === "TASK_NOT_FOUND",
  );
  assert.deepEqual(resultOf((await later.client.getTask({ taskId: "ended-lately" })).task?.outcome), { kept: true });
  for (const id of ["ended-lately", "leased", "queued"]) {
    const conflict = later.client.submitTask({ task: { taskId: id, capability: "old", user: "another" } });
    await assert.rejects(conflict, (error) => errorReason(error) === "TASK_ID_CONFLICT", id);
    assert.equal((await later.client.submitTask({ task: { taskId: id, capability: "old" } })).created, false);
  }
  assert.equal(
    (await later.client.submitTask({ task: { taskId: "ended-long-ago", capability: "old" } })).created,
    true,
  );
  await later.client.cancelTask({ taskId: "ended-long-ago" });

  await session.answer({ taskId: "leased", attempt: 1 }, completed());
  await session.update({ slots: 3, weight: 100 });
  await session.answer(await session.expect("queued"), completed());
  for (const id of ["leased", "queued"])
    assert.equal((await client.getTask({ taskId: id })).task?.state, TaskState.COMPLETED);
  assert.equal((await client.cancelTask({ taskId: "scheduled" })).state, TaskState.CANCELED);
});

test("ids are unique over all the days that are kept", async () => {
  const before_ = await world.dispatcher();
  await before_.client.submitTask({ task: { taskId: "unique", capability: "nobody" } });
  await age(3);
  const dispatcher = await world.dispatcher();
  const again = await dispatcher.client.submitTask({ task: { taskId: "unique", capability: "nobody" } });
  assert.deepEqual([again.created, again.state], [false, TaskState.QUEUED]);
  const { tasks } = await dispatcher.client.listTasks({ capability: "nobody" });
  assert.deepEqual(
    tasks.map(({ taskId }) => taskId),
    ["unique"],
  );
  const newer = await dispatcher.client.submitTask({ task: { taskId: "newer", capability: "nobody" } });
  assert.equal(newer.created, true);
  const listed = await dispatcher.client.listTasks({ capability: "nobody" });
  assert.deepEqual(
    listed.tasks.map(({ taskId }) => taskId),
    ["newer", "unique"],
    "newest first over the days",
  );
});

test("a reader keeps a day from being dropped for now, and nothing is changed by the attempt", async () => {
  const { current } = await readSegments(pool);
  await makeSegments(pool);
  await using reader = await pool.getSession();
  await reader.execute("begin; select count(*) from tasks");
  const rows = await pool.run(kept);
  await assert.rejects(dropSegment(pool, current + 1, { moveTo: current, retentionMs: week }), /lock timeout/);
  assert.deepEqual(await pool.run(kept), rows);
  await reader.execute("commit");
  await dropSegment(pool, current + 1, { moveTo: current, retentionMs: week });
  assert.deepEqual(await pool.run(kept), rows);
  await makeSegments(pool);
  assert.ok((await readSegments(pool)).all.includes(current + 1));
});

const advance = prepared("test_advance", "select advance_segment($1)");
const waiting = prepared("test_waiting", "select from pg_locks where locktype = 'advisory' and not granted");

test("an id that is on its way into the old day when the day changes is not accepted into the new one", async () => {
  const { client } = await world.dispatcher();
  const { current } = await readSegments(pool);
  const task = {
    namespace: "default",
    taskId: "midnight",
    capability: "nobody",
    user: "",
    spec: Buffer.alloc(0),
    // Of a route that no Dispatcher knows.
    routeKey: 1_000_000,
    rank: 0,
    sessionKey: null,
    dueTimeMs: null,
  };
  await using late = await pool.getSession();
  await late.execute("begin");
  assert.ok((await insertTasks(late, [task], { segment: current, instanceKey: 1 }))[0]);
  const change = pool.run(advance, [current + 1]);
  // The pool's other connection is the one that waits.
  const observer = new ConnectionPool({ connectionString: world.databaseUrl, schema: "dispatcher", max: 1 });
  await using _observer = observer;
  await waitFor(async () => (await observer.run(waiting)).length > 0, { describe: "the change of day to wait" });
  await late.execute("commit");
  await change;
  await assert.rejects(
    insertTasks(pool, [{ ...task, taskId: "stale" }], { segment: current, instanceKey: 1 }),
    isSegmentOver,
  );
  assert.deepEqual(await insertTasks(pool, [task], { segment: current + 1, instanceKey: 1 }), [undefined]);
  // A Dispatcher that has not heard of the new day finds out.
  const { created } = await client.submitTask({ task: { taskId: "after-midnight", capability: "nobody" } });
  assert.equal(created, true);
  assert.equal((await pool.run(kept)).find((row) => row.task_id === "after-midnight")?.segment, current + 1);
});
