import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { type Task, TaskSchema, TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { errorReason } from "#libs/rpc/errors.ts";
import type { FakeSession } from "./fake-registry.ts";
import {
  completed,
  createWorld,
  failed,
  json,
  resultOf,
  SubmitStream,
  whenState,
  type RunningDispatcher,
  type World,
} from "./harness.ts";

/** As `RunTask` tells of it, to a caller that has the input. */
function withoutInput(task: Task | undefined): Task | undefined {
  const { taskData: _, ...rest } = task ?? {};
  return task && create(TaskSchema, rest);
}

let world: World;
let dispatcher: RunningDispatcher;
let session: FakeSession;

before(async () => {
  world = await createWorld();
  dispatcher = await world.dispatcher();
  const registry = await world.registry(dispatcher);
  // `echo` answers at once; what is sent to `hand` the test answers itself.
  const echo = await registry.attach({ capabilities: [{ name: "echo" }] });
  echo.work = (assignment) => completed(JSON.parse(Buffer.from(assignment.taskData?.data ?? []).toString() || "{}"));
  session = await registry.attach({ capabilities: [{ name: "hand" }] });
});
after(() => world[Symbol.asyncDispose]());

test("who waits for a task gets it as it is read back later", async () => {
  const { client } = dispatcher;
  const task = {
    capability: "echo",
    taskData: json({ name: "Ada" }),
    user: "ada",
    priority: 3,
    labels: [{ key: "team", value: "a" }],
    executionTimeout: { seconds: 60n },
    retryPolicy: { maxAttempts: 7 },
  };
  const { task: ran } = await client.runTask({ task });
  const { task: read } = await client.getTask({ taskId: ran!.taskId });
  assert.deepEqual(ran, withoutInput(read));
  assert.equal(ran?.state, TaskState.COMPLETED);
});

test("a task goes to an agent and back, and everybody who asks is told the same", async () => {
  const { client } = dispatcher;
  const stream = new SubmitStream(dispatcher);
  const task = {
    taskId: "agree",
    capability: "hand",
    taskData: json({ name: "Ada" }),
    user: "ada",
    labels: [{ key: "team", value: "a" }],
    executionTimeout: { seconds: 60n },
    retryPolicy: { maxAttempts: 7 },
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  };
  stream.send([{ ref: 7n, task }]);
  const receipt = await stream.results.next();
  assert.ok(receipt.kind.case === "accepted");
  assert.equal(receipt.ref, 7n);
  const { taskId, created, traceparent } = receipt.kind.value;
  assert.deepEqual([taskId, created], ["agree", true]);
  assert.match(traceparent, /^00-0af7651916cd43dd8448eb211c80319c-/, "the caller's trace goes on");

  const run = client.runTask({ task });
  const assignment = await session.expect("agree");
  const events = client.watchTask({ taskId: "agree" })[Symbol.asyncIterator]();
  const first = (await events.next()).value?.event;
  assert.equal(first?.state, TaskState.LEASED);

  assert.equal(Buffer.from(assignment.taskData?.data ?? []).toString(), '{"name":"Ada"}', "byte for byte");
  assert.deepEqual(
    [
      assignment.capability,
      assignment.user,
      assignment.labels[0]?.value,
      assignment.maxAttempts,
      assignment.executionTimeout?.seconds,
    ],
    ["hand", "ada", "a", 7, 60n],
  );
  assert.match(assignment.traceparent, /^00-0af7651916cd43dd8448eb211c80319c-/);

  await session.progress({ taskId: "agree", attempt: 1, fraction: 0.5, message: "half", output: json({ part: 1 }) });
  const progress = (await events.next()).value?.event?.progress;
  assert.deepEqual([progress?.fraction, progress?.message], [0.5, "half"]);

  await session.answer(assignment, completed({ greeting: "Hello, Ada!" }));
  const outcome = await stream.outcomes.next();
  assert.deepEqual(
    [outcome.ref, outcome.taskId, outcome.state, outcome.attempt],
    [7n, "agree", TaskState.COMPLETED, 1],
  );
  const ran = (await run).task;
  const last = (await events.next()).value?.event;
  assert.equal((await events.next()).done, true, "after the outcome the stream ends");
  const { task: got } = await client.getTask({ taskId: "agree" });
  for (const told of [outcome.outcome, ran?.outcome, last?.outcome, got?.outcome]) {
    assert.deepEqual(resultOf(told), { greeting: "Hello, Ada!" });
  }
  assert.deepEqual(withoutInput(got), ran);
  assert.equal(Buffer.from(got?.taskData?.data ?? []).toString(), '{"name":"Ada"}');
  assert.deepEqual(
    [got?.state, got?.attempt, got?.maxAttempts, got?.agentId, got?.sessionId, got?.user, got?.waitingReason],
    [TaskState.COMPLETED, 1, 7, session.attach.agentId, session.sessionId, "ada", ""],
  );
  assert.ok(got?.submitTime && got.startTime && got.finishTime);

  const afterwards = [];
  for await (const { event } of client.watchTask({ taskId: "agree" })) afterwards.push(event);
  assert.equal(afterwards.length, 1);
  assert.deepEqual(resultOf(afterwards[0]?.outcome), { greeting: "Hello, Ada!" });

  stream.end();
  assert.equal(await stream.closed, undefined, "with its last outcome told the stream ends in order");
});

test("the same id with the same content is the same task, also while it runs and after it has ended", async () => {
  const { client } = dispatcher;
  const task = { taskId: "same", capability: "hand", taskData: json({ n: 1 }), requiredLabels: [] };
  assert.equal((await client.submitTask({ task })).created, true);
  const assignment = await session.expect("same");
  const again = await client.submitTask({
    task: { ...task, traceparent: "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
  });
  assert.deepEqual([again.created, again.state], [false, TaskState.LEASED]);
  const waiting = client.runTask({ task });
  await session.answer(assignment, completed({ n: 2 }));
  assert.deepEqual(resultOf((await waiting).task?.outcome), { n: 2 });

  const finished = await client.submitTask({ task });
  assert.deepEqual([finished.created, finished.state], [false, TaskState.COMPLETED]);
  const { task: ran } = await client.runTask({ task });
  assert.deepEqual([resultOf(ran?.outcome), ran?.taskData], [{ n: 2 }, undefined]);
  const stream = new SubmitStream(dispatcher);
  stream.send([{ ref: 1n, task }]);
  const receipt = await stream.results.next();
  assert.ok(receipt.kind.case === "accepted" && !receipt.kind.value.created);
  assert.deepEqual(resultOf((await stream.outcomes.next()).outcome), { n: 2 });
  stream.end();
  assert.equal(await stream.closed, undefined);
  assert.equal(session.got.filter(({ taskId }) => taskId === "same").length, 1, "it ran once");
});

test("the same id with any other content is a conflict, and in another namespace another task", async () => {
  const { client } = dispatcher;
  const task = { taskId: "conflict", capability: "echo", taskData: json({ n: 1 }), priority: 1 };
  await client.runTask({ task });
  const others = [
    { ...task, taskData: json({ n: 2 }) },
    { ...task, capability: "hand" },
    { ...task, priority: 2 },
    { ...task, user: "bob" },
    { ...task, labels: [{ key: "a", value: "b" }] },
    { ...task, retryPolicy: { maxAttempts: 4 } },
  ];
  for (const other of others) {
    await assert.rejects(client.submitTask({ task: other }), (error: ConnectError) => {
      assert.equal(error.code, Code.AlreadyExists);
      return errorReason(error) === "TASK_ID_CONFLICT";
    });
  }
  const { task: kept } = await client.getTask({ taskId: "conflict" });
  assert.equal(Buffer.from(kept?.taskData?.data ?? []).toString(), '{"n":1}');
  const elsewhere = await client.submitTask({ task: { ...task, namespace: "other", taskData: json({ n: 2 }) } });
  assert.equal(elsewhere.created, true);
});

test("one id many times in one frame: one task, each told of it once; a conflict among them is told alone", async () => {
  const stream = new SubmitStream(dispatcher);
  const task = { taskId: "twice", capability: "echo", taskData: json({ n: 1 }) };
  const copies = Array.from({ length: 20 }, (_, index) => ({ ref: BigInt(index), task }));
  stream.send([...copies, { ref: 99n, task: { ...task, priority: 5 } }]);
  const results = await stream.results.take(21);
  const created = results.filter(({ kind }) => kind.case === "accepted" && kind.value.created);
  assert.equal(created.length, 1);
  const refused = results.filter(({ kind }) => kind.case === "error");
  assert.deepEqual(
    refused.map(({ ref }) => ref),
    [99n],
  );
  const outcomes = await stream.outcomes.take(20);
  assert.deepEqual(new Set(outcomes.map(({ ref }) => ref)), new Set(copies.map(({ ref }) => ref)));
  stream.end();
  assert.equal(await stream.closed, undefined, "nothing is waited for any more");
  assert.equal(stream.outcomes.size, 0);
});

test("a resubmission that crosses the task's end gets its receipt first and the outcome once", async () => {
  const rounds = 40;
  for (let round = 0; round < rounds; round++) {
    const task = { taskId: `cross-${round}`, capability: "echo" };
    const [one, two] = [new SubmitStream(dispatcher), new SubmitStream(dispatcher)];
    one.send([{ ref: 1n, task }]);
    // The other comes while the first is stored, assigned, answered or recorded, as chance has it.
    if (round % 4 > 0) await one.results.next();
    two.send([{ ref: 2n, task: round % 2 === 0 ? task : { ...task, user: "another" } }]);
    two.end();
    const result = await two.results.next();
    assert.equal(result.kind.case, round % 2 === 0 ? "accepted" : "error");
    assert.equal(await two.closed, undefined, "the stream ends, nothing hangs");
    assert.equal(two.outcomes.size, round % 2 === 0 ? 1 : 0);
    one.end();
    await one.closed;
    assert.equal(one.outcomes.size, 1);
  }
});

test("receipts and outcomes can be left out, frame by frame", async () => {
  const stream = new SubmitStream(dispatcher);
  stream.send([{ ref: 1n, task: { capability: "echo" } }], { omitReceipts: true });
  assert.equal((await stream.outcomes.next()).ref, 1n);
  stream.send([{ ref: 2n, task: { capability: "echo" } }], { omitOutcomes: true });
  assert.equal((await stream.results.next()).ref, 2n);
  stream.send([{ ref: 3n, task: { capability: "!" } }], { omitReceipts: true, omitOutcomes: true });
  assert.equal((await stream.results.next()).kind.case, "error", "errors are always told");
  stream.end();
  assert.equal(await stream.closed, undefined);
  assert.deepEqual([stream.results.size, stream.outcomes.size], [0, 0]);
});

test("bulk: results are in the order of the tasks, and each is accepted or refused by itself", async () => {
  const { client } = dispatcher;
  const { results } = await client.submitTasks({
    tasks: [
      { taskId: "bulk-1", capability: "echo" },
      { taskId: "bulk-2", capability: "no good" },
      { taskId: "bulk-1", capability: "echo" },
      { taskId: "bulk-3", capability: "echo", taskData: { data: Buffer.from("[]") } },
      { taskId: "bulk-4", capability: "echo", priority: 1_001 },
      { taskId: "bulk-5", capability: "echo" },
    ],
  });
  const told = results.map(({ kind }) =>
    kind.case === "accepted" ? `${kind.value.taskId} ${kind.value.created}` : (kind.value?.code ?? ""),
  );
  assert.deepEqual(told, ["bulk-1 true", 3, "bulk-1 false", 3, 3, "bulk-5 true"]);
  for (const id of ["bulk-1", "bulk-5"]) await whenState(client, id, TaskState.COMPLETED);
  await assert.rejects(client.submitTasks({ tasks: [] }), { code: Code.InvalidArgument });
});

test("a task without an id gets one; a failure comes back with its code", async () => {
  const { client } = dispatcher;
  const { taskId, traceparent } = await client.submitTask({ task: { capability: "hand" } });
  assert.match(taskId, /^[0-9a-f-]{36}$/);
  assert.match(traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
  await session.answer(await session.expect(taskId), failed({ code: "NO_LUCK", message: "sorry", retryable: false }));
  const { task } = await client.getTask({ taskId });
  assert.equal(task?.state, TaskState.FAILED);
  assert.ok(task.outcome?.kind.case === "failed");
  assert.deepEqual([task.outcome.kind.value.code, task.outcome.kind.value.message], ["NO_LUCK", "sorry"]);
});

test("what is not there is NOT_FOUND", async () => {
  const { client } = dispatcher;
  const notFound = { code: Code.NotFound };
  await assert.rejects(client.getTask({ taskId: "never" }), notFound);
  await assert.rejects(client.getTask({ taskId: "agree", namespace: "elsewhere" }), notFound);
  await assert.rejects(client.cancelTask({ taskId: "never" }), notFound);
  await assert.rejects(async () => {
    for await (const _ of client.watchTask({ taskId: "never" }));
  }, notFound);
});
