import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { FakeRegistry } from "./fake-registry.ts";
import {
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
const submit = (taskId: string, capability: string, maxAttempts = 3) =>
  dispatcher.client.submitTask({ task: { taskId, capability, retryPolicy: { maxAttempts } } });
const refs = (...ids: string[]) => ids.map((taskId) => ({ taskId, attempt: 1 }));
const taskOf = async (taskId: string) => (await dispatcher.client.getTask({ taskId })).task!;

test("an outcome of another session, of an attempt that is over or that never was is rejected and changes nothing", async () => {
  const first = await registry.attach(offer("fenced"));
  await submit("fenced", "fenced");
  await first.expect("fenced");
  const second = await registry.attach(offer("fenced"));
  await first.end(refs("fenced"));
  await second.expect("fenced", 2);
  const stranger = await registry.attach(offer("other"));

  const attempts = [
    { session: stranger, attempt: 2 },
    { session: second, attempt: 1 },
    { session: second, attempt: 3 },
  ];
  for (const { session, attempt } of attempts) {
    await session.answer({ taskId: "fenced", attempt }, completed({ forged: true }));
    const rejection = await session.rejections.next();
    assert.deepEqual([rejection.taskId, rejection.attempt, rejection.reason], ["fenced", attempt, "LEASE_LOST"]);
  }
  await stranger.answer({ taskId: "never", attempt: 1 }, completed());
  assert.equal((await stranger.rejections.next()).reason, "LEASE_LOST");
  const { state, attempt, sessionId } = await taskOf("fenced");
  assert.deepEqual([state, attempt, sessionId], [TaskState.LEASED, 2, second.sessionId]);
  await second.answer({ taskId: "fenced", attempt: 2 }, completed({ mine: true }));
  assert.deepEqual(resultOf((await taskOf("fenced")).outcome), { mine: true });
  await Promise.all([second.end([]), stranger.end([])]);
});

test("when a session ends, what its agent had received costs an attempt and what it had not does not", async () => {
  const session = await registry.attach(offer("ends"));
  for (const [taskId, most] of [
    ["e-received", 3],
    ["e-last", 1],
    ["e-unreceived", 1],
    ["e-answered", 1],
  ] as const) {
    await submit(taskId, "ends", most);
    await session.expect(taskId);
  }
  // An outcome in the frame of the end counts.
  const { number, sessionId } = session;
  const outcomes = [{ taskId: "e-answered", attempt: 1, outcome: completed({ in: "time" }) }];
  await registry.send({
    sessions: [{ session: number, outcomes }],
    ends: [{ session: number, sessionId, reason: "broken", received: refs("e-received", "e-last") }],
  });
  assert.equal((await whenState(dispatcher.client, "e-answered", TaskState.COMPLETED)).attempt, 1);
  const dead = await whenState(dispatcher.client, "e-last", TaskState.DEAD);
  assert.equal(resultOf(dead.outcome), "AGENT_LOST");
  const again = await whenState(dispatcher.client, "e-received", TaskState.QUEUED);
  assert.deepEqual([again.attempt, again.lastFailure?.code], [1, "AGENT_LOST"]);
  const unreceived = await whenState(dispatcher.client, "e-unreceived", TaskState.QUEUED);
  assert.deepEqual([unreceived.attempt, unreceived.lastFailure], [0, undefined]);

  const next = await registry.attach(offer("ends"));
  const given = await next.assignments.take(2);
  assert.deepEqual(
    given.map((one) => `${one.taskId}#${one.attempt}`),
    ["e-received#2", "e-unreceived#1"],
  );
  // Of this one nobody knows what it had received.
  await next.end();
  await whenState(dispatcher.client, "e-unreceived", TaskState.DEAD);
  assert.equal((await whenState(dispatcher.client, "e-received", TaskState.QUEUED)).attempt, 2);
  const last = await registry.attach(offer("ends"));
  await last.answer(await last.expect("e-received", 3), completed());
  await last.end([]);
});

test("a link that is lost and comes back: what the session names goes on, what it does not goes to others, uncounted", async () => {
  const link = await world.registry(dispatcher);
  const session = await link.attach({ ...offer("resumes"), slots: 3 });
  for (const id of ["r-held", "r-lost", "r-timed"]) {
    const executionTimeout = id === "r-timed" ? { executionTimeout: { seconds: 3_600n } } : {};
    await dispatcher.client.submitTask({
      task: { taskId: id, capability: "resumes", retryPolicy: { maxAttempts: 1 }, ...executionTimeout },
    });
    await session.expect(id);
  }
  const waiting = new SubmitStream(dispatcher);
  waiting.send([{ ref: 1n, task: { taskId: "r-waiting", capability: "resumes" } }]);
  await waiting.results.next();
  await link.drop();

  const relink = await world.registry(dispatcher);
  const inFlight = [...refs("r-held", "r-timed", "r-unknown"), { taskId: "r-lost", attempt: 2 }];
  const back = await relink.attach({ ...session.attach, inFlight });
  const lost = back.lost.map((ref) => `${ref.taskId}#${ref.attempt}`);
  assert.deepEqual(lost.toSorted(), ["r-lost#2", "r-unknown#1"]);
  // Two of the three slots are held; the third is for what went back to the queue, which is older than what waits.
  await back.expect("r-lost");
  assert.equal(back.got.length, 1);
  await back.answer(refs("r-held")[0]!, completed({ held: true }));
  await back.expect("r-waiting");
  assert.deepEqual(resultOf((await taskOf("r-held")).outcome), { held: true });
  for (const id of ["r-lost", "r-timed", "r-waiting"]) {
    await back.answer(refs(id)[0]!, completed());
    assert.equal((await taskOf(id)).attempt, 1);
  }
  assert.equal(back.rejections.size, 0);
  await waiting.outcomes.next();
  waiting.end();
  await back.end([]);
});

test("an outcome whose acknowledgement was lost is sent again and is no error", async () => {
  const link = await world.registry(dispatcher);
  const session = await link.attach(offer("resends"));
  await submit("resent", "resends");
  await session.expect("resent");
  await submit("resent-failure", "resends", 1);
  await session.expect("resent-failure");
  void session.answer(refs("resent")[0]!, completed({ n: 1 }));
  void session.answer(refs("resent-failure")[0]!, failed());
  await whenState(dispatcher.client, "resent", TaskState.COMPLETED);
  await whenState(dispatcher.client, "resent-failure", TaskState.DEAD);
  await link.drop();
  const relink = await world.registry(dispatcher);
  const back = await relink.attach({ ...session.attach, inFlight: refs("resent", "resent-failure") });
  await back.answer(refs("resent")[0]!, completed({ n: 1 }));
  await back.answer(refs("resent-failure")[0]!, failed());
  assert.equal(back.rejections.size, 0);
  assert.deepEqual(resultOf((await taskOf("resent")).outcome), { n: 1 });
  await back.end([]);
});

test("a session attached anew on its link has one set of slots; what it sent under its old number counts", async () => {
  let session = await registry.attach({ ...offer("anew"), slots: 1 });
  for (let round = 0; round < 40; round++) {
    const taskId = `anew-${round}`;
    await submit(taskId, "anew", 1);
    await session.expect(taskId);
    // The outcome goes under the old number, in the frame of the new attach or in the one before, and is not settled yet.
    const outcomes = [{ taskId, attempt: 1, outcome: completed() }];
    const up = { sessions: [{ session: session.number, outcomes }] };
    if (round % 2 === 0) void registry.send(up);
    const attach = { ...session.attach, inFlight: refs(taskId) };
    session = registry.begin(attach, round % 2 === 0 ? {} : up);
    await session.attached;
    await whenState(dispatcher.client, taskId, TaskState.COMPLETED);
  }
  // One slot is left, neither more nor less.
  for (const id of ["anew-a", "anew-b"]) await submit(id, "anew", 1);
  await session.expect("anew-a");
  assert.equal((await taskOf("anew-b")).state, TaskState.QUEUED);
  await session.answer(refs("anew-a")[0]!, completed());
  await session.answer(await session.expect("anew-b"), completed());
  await session.end([]);
});

test("a session that comes over a new link before the old one is known to be dead is given work on the new one alone", async () => {
  const [old, fresh] = [await world.registry(dispatcher), await world.registry(dispatcher)];
  const before_ = await old.attach({ ...offer("moves"), slots: 2 });
  await submit("moves-1", "moves", 1);
  await before_.expect("moves-1");
  const now = await fresh.attach({ ...before_.attach, inFlight: refs("moves-1") });
  for (const id of ["moves-2", "moves-3"]) await submit(id, "moves", 1);
  await now.expect("moves-2");
  await old.drop();
  await now.answer(refs("moves-1")[0]!, completed());
  await now.expect("moves-3");
  assert.equal(before_.got.length, 1);
  for (const id of ["moves-2", "moves-3"]) await now.answer(refs(id)[0]!, completed());
  assert.equal((await taskOf("moves-3")).state, TaskState.COMPLETED);
  await now.end([]);
});

test("the end of a session that is attached nowhere returns what it held", async () => {
  const link = await world.registry(dispatcher);
  const session = await link.attach(offer("gone"));
  for (const id of ["gone-received", "gone-unreceived"]) {
    await submit(id, "gone", 1);
    await session.expect(id);
  }
  await link.drop();
  const end = { sessionId: session.sessionId, reason: "lease ran out", received: refs("gone-received") };
  await registry.send({ ends: [{ session: 0, ...end }] });
  await whenState(dispatcher.client, "gone-received", TaskState.DEAD);
  const { attempt } = await whenState(dispatcher.client, "gone-unreceived", TaskState.QUEUED);
  assert.equal(attempt, 0);
  await registry.send({ ends: [{ session: 0, sessionId: "never heard of", receivedUnknown: true }] });
  const next = await registry.attach(offer("gone"));
  await next.answer(await next.expect("gone-unreceived"), completed());
  await next.end([]);
});

test("a cancel asked for while the session was away reaches its agent when it is back", async () => {
  const link = await world.registry(dispatcher);
  const session = await link.attach(offer("asked"));
  await submit("asked", "asked");
  await session.expect("asked");
  await link.drop();
  assert.equal((await dispatcher.client.cancelTask({ taskId: "asked", reason: "enough" })).state, TaskState.LEASED);
  const relink = await world.registry(dispatcher);
  const back = await relink.attach({ ...session.attach, inFlight: refs("asked") });
  assert.equal((await back.cancels.next()).reason, "enough");
  await back.answer(refs("asked")[0]!, failed());
  assert.equal((await taskOf("asked")).state, TaskState.CANCELED);
  await back.end([]);
});

test("an execution timeout goes on counting over a new attach", async () => {
  const link = await world.registry(dispatcher);
  const session = await link.attach(offer("counts"));
  await dispatcher.client.submitTask({
    task: {
      taskId: "counts",
      capability: "counts",
      executionTimeout: { nanos: 300_000_000 },
      retryPolicy: { maxAttempts: 1 },
    },
  });
  await session.expect("counts");
  await link.drop();
  const relink = await world.registry(dispatcher);
  const back = await relink.attach({ ...session.attach, inFlight: refs("counts") });
  const dead = await whenState(dispatcher.client, "counts", TaskState.DEAD);
  assert.equal(resultOf(dead.outcome), "EXECUTION_TIMEOUT");
  await back.end([]);
});

test("tasks under way when sessions come and go all the time each complete, and are told of once", async () => {
  const stream = new SubmitStream(dispatcher);
  const total = 400;
  const rounds = 12;
  const retryPolicy = { maxAttempts: 100 };
  stream.send(
    Array.from({ length: total }, (_, i) => ({
      ref: BigInt(i),
      task: { taskId: `churn-${i}`, capability: "churn", retryPolicy },
    })),
    { omitReceipts: true },
  );
  let link = await world.registry(dispatcher);
  for (let round = 1; round <= rounds; round++) {
    const session = await link.attach({ ...offer("churn"), slots: 8 });
    let given = 0;
    // All but the last leave some unanswered.
    session.work = () => (round < rounds && ++given % 4 === 0 ? undefined : completed());
    for (const early of session.assignments.size > 0 ? await session.assignments.take(session.assignments.size) : []) {
      void session.answer(early, completed());
    }
    if (round === rounds) break;
    await session.whenGiven(16);
    if (round % 2 === 0) {
      void session.end(session.got.map(({ taskId, attempt }) => ({ taskId, attempt })));
      continue;
    }
    await link.drop();
    link = await world.registry(dispatcher);
    await link.send({ ends: [{ session: 0, sessionId: session.sessionId, reason: "gone", received: [] }] });
  }
  const outcomes = await stream.outcomes.take(total);
  assert.equal(new Set(outcomes.map(({ ref }) => ref)).size, total);
  assert.ok(
    outcomes.every(({ state }) => state === TaskState.COMPLETED),
    "none was lost",
  );
  stream.end();
  assert.equal(await stream.closed, undefined);
  assert.equal(stream.outcomes.size, 0);
});
