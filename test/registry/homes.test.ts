import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { testDatabase } from "../harness/postgres.ts";
import { FakeDispatcher } from "./harness/fake-dispatcher.ts";
import { migrateRegistry, startTestRegistry } from "./harness/registry-under-test.ts";
import { TestAgent } from "./harness/test-agent.ts";

const stack = new AsyncDisposableStack();
let database: string;

before(async () => {
  database = stack.use(await testDatabase()).connectionString;
  await migrateRegistry(database);
});
after(() => stack.disposeAsync());

const ids = (refs: readonly { taskId: string }[]): string[] => refs.map(({ taskId }) => taskId).toSorted();

test("agents stay connected without a Dispatcher, and get their home when one comes; what was unsaid is said again", async () => {
  let dispatcher = await FakeDispatcher.start();
  const { port } = dispatcher;
  await using registry = await startTestRegistry(database, [dispatcher]);
  using agent = await TestAgent.connect(registry.grpcPort, { agentId: "rehomed", slots: 4 });
  await dispatcher.attached(agent.sessionId);
  dispatcher.assign(agent.sessionId, "answered-before", "running", "answered-between");
  await agent.assigned("answered-before", "running", "answered-between");
  dispatcher.acknowledging = false;
  agent.complete("answered-before");
  await dispatcher.until("the outcome", () => dispatcher.outcomes.length === 1);
  await dispatcher[Symbol.asyncDispose]();

  using meanwhile = await TestAgent.connect(registry.grpcPort, { agentId: "came-meanwhile" });
  using gone = await TestAgent.connect(registry.grpcPort, { agentId: "gone-meanwhile", resumable: true });
  gone.send({ drain: {} });
  gone.stream.end();
  await gone.end();
  agent.complete("answered-between");
  const last = agent.lastSeq;

  dispatcher = await FakeDispatcher.start(port);
  await using _ = dispatcher;
  const { attach } = await dispatcher.attached(agent.sessionId);
  assert.deepEqual(ids(attach.inFlight), ["answered-before", "answered-between", "running"]);
  await dispatcher.attached(meanwhile.sessionId);
  await dispatcher.until("both outcomes", () => dispatcher.outcomes.length === 2);
  assert.deepEqual(ids(dispatcher.outcomes.map(({ outcome }) => outcome)), ["answered-before", "answered-between"]);
  await agent.whenAcknowledged(last);
  assert.equal(dispatcher.sessions.has(gone.sessionId), false);

  const stream = [...dispatcher.streams][0];
  const session = dispatcher.sessions.get(agent.sessionId)?.attach.session ?? 0;
  stream?.write({ attached: [{ session, lost: [{ taskId: "running", attempt: 1 }] }] });
  await agent.until("to be told of what it lost", () =>
    agent.frames.some(({ cancels }) => cancels[0]?.taskId === "running"),
  );
});

test("the end of a session whose home is lost is told to the next, its last outcomes first", async () => {
  let dispatcher = await FakeDispatcher.start();
  const { port } = dispatcher;
  await using registry = await startTestRegistry(database, [dispatcher]);
  using agent = await TestAgent.connect(registry.grpcPort, { agentId: "ends-homeless", slots: 4 });
  await dispatcher.attached(agent.sessionId);
  dispatcher.assign(agent.sessionId, "told", "begun");
  await agent.assigned("told", "begun");
  await dispatcher[Symbol.asyncDispose]();
  agent.complete("told");
  agent.stream.end();
  await agent.end();

  dispatcher = await FakeDispatcher.start(port);
  await using _ = dispatcher;
  const end = await dispatcher.ended(agent.sessionId);
  assert.deepEqual(ids(dispatcher.outcomes.map(({ outcome }) => outcome)), ["told"]);
  assert.deepEqual(ids(end.received), ["begun"]);
});

test("sessions are spread over the Dispatchers, and move from one that goes away", async () => {
  await using one = await FakeDispatcher.start();
  await using two = await FakeDispatcher.start();
  await using registry = await startTestRegistry(database, [one, two]);
  await Promise.all([one, two].map((dispatcher) => dispatcher.until("a Link", () => dispatcher.streams.size === 1)));
  using agents = new DisposableStack();
  const all: TestAgent[] = [];
  for (let i = 0; i < 6; i++) {
    const agent = agents.use(await TestAgent.connect(registry.grpcPort, { agentId: `spread-${i}`, slots: 4 }));
    all.push(agent);
    await Promise.race([one, two].map((home) => home.attached(agent.sessionId)));
  }
  await one.until("three sessions", () => one.sessions.size === 3);
  await two.until("three sessions", () => two.sessions.size === 3);
  const [session] = one.sessions.keys();
  const mover = all.find(({ sessionId }) => sessionId === session);
  assert.ok(mover);
  one.assign(mover.sessionId, "moves-along");
  await mover.assigned("moves-along");

  const [stream] = one.streams;
  stream?.write({ closing: true });
  await two.until("all sessions", () => two.sessions.size === 6);
  assert.deepEqual(ids(two.sessions.get(mover.sessionId)?.attach.inFlight ?? []), ["moves-along"]);
  one.assign(mover.sessionId, "too-late");
  two.assign(mover.sessionId, "in-time");
  mover.complete("moves-along");
  await two.until("the outcome", () => two.outcomes.length === 1);
  await mover.assigned("in-time");
  assert.deepEqual(ids(mover.assignments), ["in-time", "moves-along"], "nothing of the home it has left");
  // Those who were here before as well as those who have come.
  for (const agent of all) two.assign(agent.sessionId, `for-${agent.sessionId}`);
  await Promise.all(all.map((agent) => agent.assigned(`for-${agent.sessionId}`)));
});

test("a Dispatcher that is reached in two ways gets one Link", async () => {
  await using one = await FakeDispatcher.start();
  await using two = await FakeDispatcher.start();
  two.id = one.id;
  await using registry = await startTestRegistry(database, [one, two]);
  const links = () => one.streams.size + two.streams.size;
  const linkedBoth = () => one.registries.length > 0 && two.registries.length > 0;
  await Promise.race(
    [one, two].map((ways) => ways.until("one of them to be given up", () => linkedBoth() && links() === 1)),
  );
  using agent = await TestAgent.connect(registry.grpcPort, { agentId: "one-link" });
  await Promise.race([one, two].map((ways) => ways.attached(agent.sessionId)));
});

test("while a Dispatcher does not read, agents are not read either, nothing grows, and nobody expires for it", async () => {
  await using dispatcher = await FakeDispatcher.start();
  await using registry = await startTestRegistry(database, [dispatcher], { MAX_RESULT_BYTES: "1MiB" });
  using agent = await TestAgent.connect(registry.grpcPort, { agentId: "plenty", slots: 200 });
  await dispatcher.attached(agent.sessionId);
  const tasks = Array.from({ length: 150 }, (_, i) => `big-${i}`);
  dispatcher.assign(agent.sessionId, ...tasks);
  await agent.assigned(...tasks);
  const [stream] = dispatcher.streams;
  stream?.pause();
  const result = { data: Buffer.alloc(1024 * 1024) };
  for (const taskId of tasks) {
    agent.send({ outcomes: [{ taskId, attempt: 1, outcome: { kind: { case: "completed", value: { result } } } }] });
  }
  // A lease goes by, as one who is silent finds out.
  using silent = await TestAgent.connect(registry.grpcPort, { agentId: "silent" });
  silent.stopHeartbeats();
  assert.equal(await silent.end(), "SESSION_EXPIRED");
  assert.equal(agent.closed, false);
  assert.ok(agent.stream.bufferedBytes > 50 * 1024 * 1024, `the agent keeps ${agent.stream.bufferedBytes} bytes back`);
  stream?.resume();
  await dispatcher.until("all outcomes", () => dispatcher.outcomes.length === tasks.length);
  await agent.whenAcknowledged(BigInt(tasks.length));
  assert.equal(agent.closed, false);
});
