import assert from "node:assert/strict";
import { test } from "node:test";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { ownPostgres } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";
import { completed, createWorld, failed, whenState, type RunningDispatcher } from "./harness.ts";
import { assertNothingHeld, concurrency, Held, counts, perUser, query, setLimits } from "./gates-world.ts";

const random = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)]!;

async function submitAll(
  client: RunningDispatcher["client"],
  ids: readonly string[],
  capability: string,
  user = "",
): Promise<void> {
  const retryPolicy = { maxAttempts: 100, initialDelay: { nanos: 1_000_000 }, factor: 1 };
  const { results } = await client.submitTasks({
    tasks: ids.map((taskId) => ({ taskId, capability, user, retryPolicy })),
  });
  assert.ok(results.every(({ kind }) => kind.case === "accepted"));
}

test("at most N attempts at once over two Dispatchers, one of which is killed; what it held is rescued, and none leaks", async () => {
  await using world = await createWorld({ env: { INSTANCE_LEASE: "1s", SESSION_GRACE: "1s" } });
  const [a, b] = await Promise.all([world.dispatcherProcess(), world.dispatcherProcess()]);
  await setLimits(world, [a, b], [{ name: "gpus", capability: "gpu", kind: concurrency(3) }]);
  const held = new Held();
  const atA = await held.attach(a, ["gpu"]);
  await using _atB = await held.attach(b, ["gpu"]);
  const ids = Array.from({ length: 60 }, (_, i) => `gpu-${i}`);
  await submitAll(a.client, ids.slice(0, 30), "gpu");
  await submitAll(b.client, ids.slice(30), "gpu");

  const answerOne = async (): Promise<void> => {
    await waitFor(() => held.size > 0, { describe: "an assignment" });
    // Done, or failed and tried again after a rest, or at once: then it keeps its slot.
    const outcome = random([completed(), completed(), failed(), failed({ retryDelayMs: 20 })]);
    void held.answer(outcome, random);
  };
  for (let i = 0; i < 30; i++) await answerOne();
  await a.process.kill("SIGKILL");
  await atA.closed;
  held.lose(atA);
  for (let i = 0; i < 10; i++) await answerOne();
  await a.process.start();
  await using _again = await held.attach(a, ["gpu"]);
  const isOver = async (): Promise<boolean> =>
    (await query<{ n: number }>(world, "select count(*)::int as n from outcomes where state = 4"))[0]!.n === ids.length;
  await waitFor(
    async () => {
      while (held.size > 0) void held.answer(completed(), random);
      return await isOver();
    },
    { describe: () => `all to be completed; held: ${held.names.join(", ")}`, timeoutMs: 30_000 },
  );
  assert.ok(held.most <= 3, `${held.most} at once`);
  assert.equal(held.most, 3, "and as many as there may be");
  await assertNothingHeld(world);
});

test("Postgres killed in the middle: slots are counted as what is leased, and all complete", async () => {
  await using postgres = await ownPostgres();
  await using world = await createWorld({ databaseUrl: postgres.connectionString });
  const dispatcher = await world.dispatcher();
  await setLimits(world, [dispatcher], [{ name: "few", capability: "few", kind: concurrency(2), per: [perUser] }]);
  const held = new Held();
  await using _registry = await held.attach(dispatcher, ["few"]);
  const ids = Array.from({ length: 40 }, (_, i) => `few-${i}`);
  await submitAll(dispatcher.client, ids.slice(0, 20), "few", "ada");
  await submitAll(dispatcher.client, ids.slice(20), "few", "bob");
  let answered = 0;
  const answerOne = async (): Promise<void> => {
    await waitFor(() => held.size > 0, { describe: "an assignment", timeoutMs: 30_000 });
    answered++;
    void held.answer(completed(), random);
  };
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 8; i++) await answerOne();
    await postgres.kill();
    await postgres.restart();
  }
  while (answered < ids.length) await answerOne();
  for (const taskId of ids) await whenState(dispatcher.client, taskId, TaskState.COMPLETED);
  // A lease whose statement was committed and whose answer was lost is given out again; never more than two for each user.
  assert.ok(held.most <= 4, `${held.most} at once`);
  await assertNothingHeld(world);
});

test("a slot is held while a task is queued or leased, and is given back by its end, its rest and its cancellation", async () => {
  await using world = await createWorld();
  const dispatcher = await world.dispatcher();
  const { client } = dispatcher;
  await setLimits(world, [dispatcher], [{ name: "one", capability: "one", kind: concurrency(1) }]);
  await submitAll(client, ["first", "second", "third", "fourth"], "one");
  // Nobody serves it: no slot is taken.
  assert.match((await client.getTask({ taskId: "first" })).task?.waitingReason ?? "", /no agent offers 'one' yet/);
  assert.deepEqual(await query(world, "select held from gates where limit_name = 'one'"), [{ held: 0 }]);

  const held = new Held();
  await using _registry = await held.attach(dispatcher, ["one"]);
  const whenHolding = (...names: string[]) =>
    waitFor(() => held.names.join() === names.join(), { describe: () => `${names.join()}, not ${held.names.join()}` });
  await whenHolding("first#1");
  const waiting = await waitFor(
    async () => {
      const { task } = await client.getTask({ taskId: "third" });
      return task?.waitingReason.startsWith("the limit") && task;
    },
    { describe: "the reason" },
  );
  assert.equal(waiting.waitingReason, "the limit 'one' is reached; 1 of it running; 1 task is before it");
  assert.equal(waiting.state, TaskState.QUEUED);
  assert.equal((await client.getMetrics({})).tasksParked, 3n);
  const { tasks } = await client.listTasks({ capability: "one", states: [TaskState.QUEUED] });
  assert.deepEqual(tasks.map(({ taskId }) => taskId).toSorted(), ["fourth", "second", "third"]);

  // Canceled while parked: it is gone at once. Canceled while it runs: its slot is the next one's.
  assert.equal((await client.cancelTask({ taskId: "second" })).state, TaskState.CANCELED);
  await held.answer(failed({ retryDelayMs: 300 }));
  await whenHolding("third#1");
  await held.answer(completed());
  await whenHolding("fourth#1");
  assert.deepEqual(await query(world, counts), [{ held: 1, counted: 1 }]);
  await held.answer(completed());
  await whenHolding("first#2");
  await held.answer(completed());
  await whenState(client, "first", TaskState.COMPLETED);
  await assertNothingHeld(world);
});

test("what is queued keeps its slots from others only as long as somebody can run it", async () => {
  await using world = await createWorld();
  const dispatcher = await world.dispatcher();
  const limit = { name: "both", selector: { capabilities: ["left", "right"] }, kind: concurrency(1) };
  await world.rateLimit.client.setLimit({ limit });
  await setLimits(world, [dispatcher], []);
  const held = new Held();
  const left = await held.attach(dispatcher, ["left"]);
  await submitAll(dispatcher.client, ["left-0"], "left");
  await waitFor(() => held.names[0] === "left-0#1", { describe: "the one" });
  await submitAll(dispatcher.client, ["right-0"], "right");
  await using _right = await held.attach(dispatcher, ["right"]);
  assert.deepEqual(held.names, ["left-0#1"]);
  // Its agent ends without an answer: the task is rescued into the queue, with its slot, and nobody is there to run it.
  await held.end(left);
  await waitFor(() => held.names[0] === "right-0#1", { describe: "the other" });
  await held.answer(completed());
  await using _again = await held.attach(dispatcher, ["left"]);
  await waitFor(() => held.names[0] === "left-0#2", { describe: "it to be tried again" });
  await held.answer(completed());
  await assertNothingHeld(world);
});

test("a change of a limit holds within a second, for what waits as well", async () => {
  await using world = await createWorld();
  const dispatcher = await world.dispatcher();
  await setLimits(world, [dispatcher], [{ name: "wide", capability: "wide", kind: concurrency(0) }]);
  const held = new Held();
  await using _registry = await held.attach(dispatcher, ["wide"]);
  await submitAll(
    dispatcher.client,
    Array.from({ length: 10 }, (_, i) => `wide-${i}`),
    "wide",
  );
  assert.equal(held.size, 0);
  for (const max of [4, 7]) {
    const limit = { name: "wide", selector: { capabilities: ["wide"] }, kind: concurrency(max) };
    await world.rateLimit.client.setLimit({ limit });
    const startMs = performance.now();
    await waitFor(() => held.size === max, { describe: () => `${max} at once, not ${held.size}` });
    assert.ok(performance.now() - startMs < 5_000);
  }
  await world.rateLimit.client.deleteLimit({ name: "wide" });
  await waitFor(() => held.size === 10, { describe: () => `all at once, not ${held.size}` });
  while (held.size > 0) await held.answer(completed());
  await assertNothingHeld(world);
});
