import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { CancelCause } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { waitFor } from "../harness/wait-for.ts";
import type { FakeRegistry } from "./fake-registry.ts";
import {
  canceled,
  completed,
  createWorld,
  failed,
  resultOf,
  SubmitStream,
  whenState,
  type RunningDispatcher,
  type World,
} from "./harness.ts";

let world: World;
let dispatcher: RunningDispatcher;
let registry: FakeRegistry;

before(async () => {
  world = await createWorld();
  dispatcher = await world.dispatcher();
  registry = await world.registry(dispatcher);
});
after(() => world[Symbol.asyncDispose]());

const offer = (...names: string[]) => ({ capabilities: names.map((name) => ({ name })) });
const soon = { maxAttempts: 3, initialDelay: { nanos: 1_000_000 } };

test("a task that nobody can run waits and says why, and goes to the first agent that can", async () => {
  const { client } = dispatcher;
  const { state } = await client.submitTask({ task: { taskId: "unmatched", capability: "rare" } });
  assert.equal(state, TaskState.QUEUED);
  const waiting = (await client.getTask({ taskId: "unmatched" })).task;
  assert.equal(waiting?.waitingReason, "no agent offers 'rare' yet");
  assert.equal(waiting.attempt, 0);
  const events = client.watchTask({ taskId: "unmatched" })[Symbol.asyncIterator]();
  assert.equal((await events.next()).value?.event?.waitingReason, "no agent offers 'rare' yet");

  const elsewhere = await registry.attach({ ...offer("rare"), namespace: "elsewhere" });
  const none = await registry.attach({ ...offer("rare"), slots: 0 });
  const session = await registry.attach(offer("rare"));
  await session.answer(await session.expect("unmatched"), completed());
  const states = [];
  for (let event = await events.next(); !event.done; event = await events.next()) states.push(event.value.event?.state);
  // Why it waits may be told anew before it goes.
  assert.deepEqual(
    states.filter((told) => told !== TaskState.QUEUED),
    [TaskState.LEASED, TaskState.COMPLETED],
  );
  assert.deepEqual([elsewhere.got.length, none.got.length], [0, 0]);
  await Promise.all([elsewhere, none, session].map((one) => one.end([])));
});

test("a task goes only to an agent that has all the labels it asks for, and holds up no other", async () => {
  const { client } = dispatcher;
  const plain = await registry.attach(offer("labeled"));
  const half = await registry.attach({ ...offer("labeled"), labels: [{ key: "region", value: "eu" }] });
  const requiredLabels = [
    { key: "region", value: "eu" },
    { key: "gpu", value: "a100" },
  ];
  await client.submitTask({ task: { taskId: "eu-gpu", capability: "labeled", requiredLabels } });
  const { task } = await client.getTask({ taskId: "eu-gpu" });
  assert.equal(task?.waitingReason, "no agent that offers 'labeled' has the labels gpu=a100, region=eu");

  // Those that ask for less go past it.
  await client.submitTask({
    task: { taskId: "eu", capability: "labeled", requiredLabels: requiredLabels.slice(0, 1) },
  });
  await half.answer(await half.expect("eu"), completed());
  const full = await registry.attach({ ...offer("labeled"), labels: requiredLabels.toReversed() });
  await full.answer(await full.expect("eu-gpu"), completed());
  assert.deepEqual([plain.got.length, half.got.length, full.got.length], [0, 1, 1]);
  await Promise.all([plain, half, full].map((one) => one.end([])));
});

test("with one slot tasks run by priority, then in the order they came, one at a time", async () => {
  const { client } = dispatcher;
  const priorities = [0, 5, -1_000, 5, 1_000, 0, -1, 1_000];
  const tasks = priorities.map((priority, index) => ({ taskId: `p${index}`, capability: "ordered", priority }));
  for (const task of tasks) await client.submitTask({ task });
  const session = await registry.attach({ ...offer("ordered"), slots: 1 });
  const order: string[] = [];
  while (order.length < tasks.length) {
    const assignment = await session.assignments.next();
    order.push(assignment.taskId);
    assert.equal(session.got.length, order.length, "never more than the slot");
    // The most urgent of all comes last, while others wait.
    if (order.length === 3) {
      tasks.push({ taskId: "late", capability: "ordered", priority: 1_000 });
      await client.submitTask({ task: tasks.at(-1)! });
    }
    const { task } = await client.getTask({ taskId: "p2" });
    if (task?.state === TaskState.QUEUED)
      assert.match(
        task.waitingReason,
        /^all slots of the agents that offer 'ordered' are busy; (no|1|\d) tasks? (is|are) before it/,
      );
    await session.answer(assignment, completed());
  }
  assert.deepEqual(order, ["p4", "p7", "p1", "late", "p3", "p0", "p5", "p6", "p2"]);
  await session.end([]);
});

test("tasks of all priorities that fail and come back while claims are under way all get their turn", async () => {
  const session = await registry.attach({ ...offer("mixed"), slots: 2 });
  const stream = new SubmitStream(dispatcher);
  const count = 300;
  const done: string[] = [];
  session.work = ({ taskId, attempt }) => {
    if (attempt === 1 && Number(taskId.slice(1)) % 7 === 0) return failed();
    done.push(taskId);
    return completed();
  };
  for (let i = 0; i < count; i++) {
    const retryPolicy = { maxAttempts: 3, initialDelay: {} };
    stream.send([{ ref: BigInt(i), task: { taskId: `m${i}`, capability: "mixed", priority: i % 5, retryPolicy } }]);
  }
  const outcomes = await stream.outcomes.take(count);
  assert.ok(outcomes.every(({ state }) => state === TaskState.COMPLETED));
  stream.end();
  assert.equal(await stream.closed, undefined);
  assert.deepEqual([new Set(done).size, done.length], [count, count], "each ran to its end once");
  await session.end([]);
});

test("a task that comes while others wait does not overtake them, though a slot is free for a moment", async () => {
  const { client } = dispatcher;
  const names = Array.from({ length: 30 }, (_, index) => `o${index}`);
  for (const taskId of names.slice(0, 10)) await client.submitTask({ task: { taskId, capability: "queue" } });
  const session = await registry.attach({ ...offer("queue"), slots: 1 });
  session.work = () => completed();
  // Slots come and go while these arrive.
  for (const taskId of names.slice(10)) await client.submitTask({ task: { taskId, capability: "queue" } });
  await session.whenGiven(names.length);
  assert.deepEqual(
    session.got.map(({ taskId }) => taskId),
    names,
  );
  await session.end([]);
});

test("neither a session's slots nor a capability's own are ever exceeded", async () => {
  const session = await registry.attach({
    slots: 5,
    capabilities: [{ name: "wide" }, { name: "narrow", slots: 2 }],
  });
  const stream = new SubmitStream(dispatcher);
  const total = 60;
  stream.send(
    Array.from({ length: total }, (_, i) => ({ ref: 0n, task: { capability: i % 2 === 0 ? "wide" : "narrow" } })),
    { omitReceipts: true },
  );
  const held = new Set<(typeof session.got)[number]>();
  for (let taken = 0; taken < total;) {
    do {
      held.add(await session.assignments.next());
      taken++;
    } while (session.assignments.size > 0);
    assert.ok(held.size <= 5, `${held.size} at once`);
    assert.ok([...held].filter(({ capability }) => capability === "narrow").length <= 2);
    for (const name of ["wide", "narrow"]) {
      const one = [...held].find(({ capability }) => capability === name);
      if (one === undefined) continue;
      held.delete(one);
      await session.answer(one, completed());
    }
  }
  for (const one of held) await session.answer(one, completed());
  await stream.outcomes.take(total);
  stream.end();
  await session.end([]);
});

test("fewer slots, or none, hold from then on; more are filled at once", async () => {
  const { client } = dispatcher;
  const session = await registry.attach({ ...offer("slots"), slots: 2 });
  for (let i = 0; i < 6; i++) await client.submitTask({ task: { taskId: `s${i}`, capability: "slots" } });
  const [first, second] = await session.assignments.take(2);
  await session.update({ slots: 1, weight: 100 });
  await session.answer(first!, completed());
  await session.update({ slots: 0, weight: 100 });
  await session.answer(second!, completed());
  assert.equal(session.got.length, 2);
  await session.update({ slots: 3, weight: 0 });
  const other = await registry.attach({ ...offer("slots"), slots: 1 });
  await other.expect("s2");
  assert.equal(session.got.length, 2, "a version without weight gets nothing");
  await session.update({ slots: 3, weight: 1 });
  assert.deepEqual(
    (await session.assignments.take(3)).map(({ taskId }) => taskId),
    ["s3", "s4", "s5"],
  );
  await Promise.all([session.end([]), other.end([])]);
  const later = await registry.attach(offer("slots"));
  assert.equal(
    (await later.assignments.take(4)).every(({ attempt }) => attempt === 1),
    true,
  );
  for (const one of later.got) await later.answer(one, completed());
  await later.end([]);
});

test("a retryable failure is tried again after its rest, and the last one is kept when there are no more attempts", async () => {
  const { client } = dispatcher;
  const session = await registry.attach(offer("flaky"));
  await client.submitTask({ task: { taskId: "dead", capability: "flaky", retryPolicy: soon } });
  const events = client.watchTask({ taskId: "dead" })[Symbol.asyncIterator]();
  assert.equal((await events.next()).value?.event?.state, TaskState.LEASED);
  for (let attempt = 1; attempt <= 3; attempt++) {
    await session.answer(await session.expect("dead", attempt), failed({ code: `E${attempt}` }));
  }
  const dead = await whenState(client, "dead", TaskState.DEAD);
  assert.deepEqual([dead.attempt, resultOf(dead.outcome)], [3, "E3"]);
  const seen: string[] = [];
  for (let event = await events.next(); !event.done; event = await events.next()) {
    const { state, attempt, lastFailure } = event.value.event!;
    seen.push(`${state} ${attempt} ${lastFailure?.code ?? ""}`.trim());
  }
  // Changes that follow each other quickly may be told as one; what is told is in order.
  assert.deepEqual(seen.at(-1), `${TaskState.DEAD} 3`);
  const attempts = seen.map((event) => Number(event.split(" ")[1]));
  assert.deepEqual(
    attempts,
    attempts.toSorted((a, b) => a - b),
    seen.join("; "),
  );
  assert.ok(seen.includes(`${TaskState.SCHEDULED} 1 E1`), seen.join("; "));

  await client.submitTask({ task: { taskId: "hopeless", capability: "flaky" } });
  await session.answer(await session.expect("hopeless"), failed({ retryable: false }));
  assert.equal((await client.getTask({ taskId: "hopeless" })).task?.state, TaskState.FAILED);

  await client.submitTask({ task: { taskId: "better", capability: "flaky", retryPolicy: soon } });
  await session.answer(await session.expect("better"), failed());
  await session.answer(await session.expect("better", 2), completed({ at: "last" }));
  const { task } = await client.getTask({ taskId: "better" });
  assert.deepEqual([task?.state, task?.attempt, task?.lastFailure], [TaskState.COMPLETED, 2, undefined]);
  await session.end([]);
});

test("the agent's retry_delay is the least rest, and the task says what it rests for", async () => {
  const { client } = dispatcher;
  const session = await registry.attach(offer("rests"));
  await client.submitTask({ task: { taskId: "rests", capability: "rests", retryPolicy: soon } });
  const sentMs = Date.now();
  await session.answer(await session.expect("rests"), failed({ code: "BUSY", message: "429", retryDelayMs: 700 }));
  const { task } = await client.getTask({ taskId: "rests" });
  assert.equal(task?.state, TaskState.SCHEDULED);
  assert.equal(task.lastFailure?.code, "BUSY");
  assert.match(task.waitingReason, /attempt 1 failed \(BUSY: 429\)/);
  await session.expect("rests", 2);
  assert.ok(Date.now() - sentMs >= 699, "no earlier");
  await session.end([{ taskId: "rests", attempt: 2 }]);
  await client.cancelTask({ taskId: "rests" });
});

test("a run time in the future is waited for, one in the past is at once", async () => {
  const { client } = dispatcher;
  const session = await registry.attach(offer("timed"));
  const dueMs = Date.now() + 800;
  const far = { taskId: "far", capability: "timed", runTime: timestampFromMs(Date.now() + 3_600_000) };
  assert.equal((await client.submitTask({ task: far })).state, TaskState.SCHEDULED);
  const due = await client.submitTask({
    task: { taskId: "due", capability: "timed", runTime: timestampFromMs(dueMs) },
  });
  assert.equal(due.state, TaskState.SCHEDULED);
  const { task } = await client.getTask({ taskId: "due" });
  assert.equal(task?.runTime && timestampMs(task.runTime), dueMs);
  assert.match(task?.waitingReason ?? "", /run time/);
  const past = await client.submitTask({ task: { taskId: "past", capability: "timed", runTime: timestampFromMs(1) } });
  assert.notEqual(past.state, TaskState.SCHEDULED);
  await session.answer(await session.expect("past"), completed());
  await session.expect("due");
  assert.ok(Date.now() >= dueMs);
  await session.answer({ taskId: "due", attempt: 1 }, completed());
  assert.equal((await client.cancelTask({ taskId: "far" })).state, TaskState.CANCELED);
  await session.end([]);
});

test("an attempt that runs too long is a failure; its agent is told to stop, and its late answer frees the slot, no more", async () => {
  const { client } = dispatcher;
  const session = await registry.attach({ ...offer("slow"), slots: 1 });
  const task = {
    taskId: "slow",
    capability: "slow",
    executionTimeout: { nanos: 150_000_000 },
    retryPolicy: { ...soon, maxAttempts: 2 },
  };
  await client.submitTask({ task });
  const first = await session.expect("slow");
  const cancel = await session.cancels.next();
  assert.deepEqual([cancel.taskId, cancel.attempt, cancel.cause], ["slow", 1, CancelCause.TIMEOUT]);
  await waitFor(
    async () => (await client.getTask({ taskId: "slow" })).task?.lastFailure?.code === "EXECUTION_TIMEOUT",
    {
      describe: "the timeout to be recorded",
    },
  );
  assert.equal(session.got.length, 1, "the slot is still the old attempt's");
  await session.answer(first, completed({ late: true }));
  await session.expect("slow", 2);
  await session.cancels.next();
  const dead = await whenState(client, "slow", TaskState.DEAD);
  assert.equal(resultOf(dead.outcome), "EXECUTION_TIMEOUT");
  await session.answer({ taskId: "slow", attempt: 2 }, completed({ late: true }));
  assert.equal((await client.getTask({ taskId: "slow" })).task?.state, TaskState.DEAD);
  assert.equal(session.rejections.size, 0);

  await client.submitTask({ task: { taskId: "after-slow", capability: "slow" } });
  await session.answer(await session.expect("after-slow"), completed());
  await session.end([]);
});

test("cancel: at once what waits, through its agent what runs, and never what has ended", async () => {
  const { client } = dispatcher;
  const cancel = async (taskId: string) => (await client.cancelTask({ taskId, reason: "changed my mind" })).state;
  const stream = new SubmitStream(dispatcher);
  stream.send([{ ref: 1n, task: { taskId: "c-queued", capability: "cancels" } }]);
  await stream.results.next();
  assert.equal(await cancel("c-queued"), TaskState.CANCELED);
  const told = await stream.outcomes.next();
  assert.ok(told.outcome?.kind.case === "canceled");
  assert.deepEqual(
    [told.state, told.attempt, told.outcome.kind.value.reason],
    [TaskState.CANCELED, 0, "changed my mind"],
  );
  stream.end();
  assert.equal(await cancel("c-queued"), TaskState.CANCELED, "again: nothing changes");

  const runTime = timestampFromMs(Date.now() + 3_600_000);
  await client.submitTask({ task: { taskId: "c-scheduled", capability: "cancels", runTime } });
  assert.equal(await cancel("c-scheduled"), TaskState.CANCELED);

  const session = await registry.attach(offer("cancels"));
  const outcomes = { stops: canceled("stopped"), ignores: completed({ done: true }), fails: failed() };
  const expected = { stops: TaskState.CANCELED, ignores: TaskState.COMPLETED, fails: TaskState.CANCELED };
  for (const name of ["stops", "ignores", "fails"] as const) {
    const taskId = `c-${name}`;
    await client.submitTask({ task: { taskId, capability: "cancels" } });
    const assignment = await session.expect(taskId);
    assert.equal(await cancel(taskId), TaskState.LEASED);
    assert.equal((await client.getTask({ taskId })).task?.cancelRequested, true);
    await cancel(taskId);
    const asked = await session.cancels.next();
    assert.deepEqual([asked.taskId, asked.cause, asked.reason], [taskId, CancelCause.REQUESTED, "changed my mind"]);
    await session.answer(assignment, outcomes[name]);
    assert.equal((await client.getTask({ taskId })).task?.state, expected[name], name);
    assert.equal(await cancel(taskId), expected[name]);
  }
  assert.equal(session.cancels.size, 0, "told once");

  // Its agent vanishes instead of answering.
  await client.submitTask({ task: { taskId: "c-lost", capability: "cancels" } });
  await session.expect("c-lost");
  await cancel("c-lost");
  await session.end([{ taskId: "c-lost", attempt: 1 }]);
  await whenState(client, "c-lost", TaskState.CANCELED);
});

test("a cancel that crosses a failure on its way into the database is not forgotten", async () => {
  const { client } = dispatcher;
  const session = await registry.attach(offer("crosses"));
  const states = new Set<TaskState>();
  for (let round = 0; round < 30; round++) {
    const taskId = `x${round}`;
    await client.submitTask({
      task: { taskId, capability: "crosses", retryPolicy: { maxAttempts: 50, initialDelay: {} } },
    });
    const assignment = await session.expect(taskId);
    const cancel = client.cancelTask({ taskId });
    const [{ state }] = await Promise.all([cancel, session.answer(assignment, failed())]);
    states.add(state);
    // Whatever was first: it was asked to be canceled, so it does not go on.
    const ended = whenState(client, taskId, TaskState.CANCELED);
    if (state === TaskState.LEASED && (await client.getTask({ taskId })).task?.state === TaskState.LEASED) {
      const again = session.got.at(-1)!;
      if (again.taskId === taskId && again.attempt > 1) await session.answer(again, failed());
    }
    await ended;
    while (session.assignments.size > 0) await session.assignments.next();
  }
  assert.ok(states.size > 0);
  await session.end([]);
});
