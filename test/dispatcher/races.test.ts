import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { waitFor } from "../harness/wait-for.ts";
import {
  completed,
  createWorld,
  failed,
  SubmitStream,
  whenState,
  type RunningDispatcher,
  type World,
} from "./harness.ts";

// What happens in an order that chance seldom gives: statements are held up by a lock on a task's lease.

let world: World;
let dispatcher: RunningDispatcher;
let pool: ConnectionPool;

before(async () => {
  world = await createWorld();
  dispatcher = await world.dispatcher();
  pool = new ConnectionPool({ connectionString: world.databaseUrl, schema: "dispatcher", max: 3 });
});
after(async () => {
  await pool[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

const offer = (name: string) => ({ capabilities: [{ name }] });
const refs = (...ids: string[]) => ids.map((taskId) => ({ taskId, attempt: 1 }));
const submit = (taskId: string, capability: string, more: object = {}) =>
  dispatcher.client.submitTask({ task: { taskId, capability, ...more } });

/** Holds up every statement that ends, adopts or cancels the task's lease, until it is released. */
async function holdUp(taskId: string): Promise<{ release(): Promise<void> }> {
  const session = await pool.getSession();
  await session.execute(`
    begin;
    select 1 from leases where task_key = (select task_key from tasks where task_id = '${taskId}') for update`);
  return {
    async release() {
      await session.execute("commit");
      session.release();
    },
  };
}

const waiting = prepared<{ count: number }>(
  "waiting",
  "select count(*)::int4 as count from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
);

async function whenHeldUp(count: number): Promise<void> {
  await waitFor(async () => (await pool.run(waiting))[0]!.count === count, { describe: `${count} statements to wait` });
}

test("a request to cancel that is committed while the attempt's failure is being recorded ends the task", async () => {
  const session = await (await world.registry(dispatcher)).attach(offer("cancel"));
  for (const [taskId, outcome] of [
    ["late-retry", failed()],
    ["late-fail", failed({ retryable: false })],
  ] as const) {
    await submit(taskId, "cancel");
    await session.expect(taskId);
    const lock = await holdUp(taskId);
    const cancel = dispatcher.client.cancelTask({ taskId, reason: "late" });
    await whenHeldUp(1);
    const answered = session.answer(refs(taskId)[0]!, outcome);
    await whenHeldUp(2);
    await lock.release();
    assert.equal((await cancel).state, TaskState.LEASED);
    await answered;
    const { task } = await dispatcher.client.getTask({ taskId });
    assert.equal(task?.state, TaskState.CANCELED, taskId);
    assert.ok(task.outcome?.kind.case === "canceled" && task.outcome.kind.value.reason === "late");
  }
  assert.equal(session.rejections.size, 0);
  await submit("late-success", "cancel");
  await session.expect("late-success");
  const lock = await holdUp("late-success");
  const cancel = dispatcher.client.cancelTask({ taskId: "late-success" });
  await whenHeldUp(1);
  const answered = session.answer(refs("late-success")[0]!, completed());
  await whenHeldUp(2);
  await lock.release();
  await Promise.all([cancel, answered]);
  assert.equal((await dispatcher.client.getTask({ taskId: "late-success" })).task?.state, TaskState.COMPLETED);
  await session.end([]);
});

test("a session that is attached anew while its outcome is on the way into the database gets its slot back", async () => {
  const registry = await world.registry(dispatcher);
  const blocker = await registry.attach(offer("blocker"));
  const session = await registry.attach({ ...offer("anew"), slots: 1 });
  await submit("block", "blocker");
  await blocker.expect("block");
  await submit("on-its-way", "anew");
  await session.expect("on-its-way");
  const lock = await holdUp("block");
  void blocker.answer(refs("block")[0]!, completed());
  await whenHeldUp(1);
  void session.answer(refs("on-its-way")[0]!, completed());
  const back = await registry.attach({ ...session.attach, inFlight: refs("on-its-way") });
  assert.deepEqual(back.lost, [], "it is still the session's");
  await lock.release();
  await whenState(dispatcher.client, "on-its-way", TaskState.COMPLETED);
  await submit("next", "anew");
  await back.answer(await back.expect("next"), completed());
  await Promise.all([back.end([]), blocker.end([])]);
});

test("the end of a session says nothing of an outcome that is on its way into the database", async () => {
  const registry = await world.registry(dispatcher);
  const link = await world.registry(dispatcher);
  const blocker = await registry.attach(offer("blocker"));
  const session = await link.attach(offer("ending"));
  await submit("block-2", "blocker");
  await blocker.expect("block-2");
  const stream = new SubmitStream(dispatcher);
  stream.send([{ ref: 1n, task: { taskId: "ending", capability: "ending", retryPolicy: { maxAttempts: 1 } } }]);
  await session.expect("ending");
  const lock = await holdUp("block-2");
  void blocker.answer(refs("block-2")[0]!, completed());
  await whenHeldUp(1);
  void session.answer(refs("ending")[0]!, completed());
  // The Registry saw the link break, and does not know whether the outcome arrived: nothing that is said now undoes it.
  await link.attach(offer("after the outcome"));
  await link.drop();
  void registry.send({
    ends: [{ session: 0, sessionId: session.sessionId, reason: "gone", received: refs("ending") }],
  });
  await registry.attach(offer("after the end"));
  await lock.release();
  assert.equal((await stream.outcomes.next()).state, TaskState.COMPLETED);
  stream.end();
  await blocker.end([]);
});
