import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { CancelCause } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { RunningRegistry } from "../../services/registry/service.ts";
import { testDatabase } from "../harness/postgres.ts";
import { assignment, FakeDispatcher } from "./harness/fake-dispatcher.ts";
import { migrateRegistry, startTestRegistry } from "./harness/registry-under-test.ts";
import { TestAgent } from "./harness/test-agent.ts";

const stack = new AsyncDisposableStack();
let dispatcher: FakeDispatcher;
let registry: RunningRegistry;
let port: number;

before(async () => {
  const { connectionString } = stack.use(await testDatabase());
  await migrateRegistry(connectionString);
  dispatcher = stack.use(await FakeDispatcher.start());
  registry = stack.use(await startTestRegistry(connectionString, [dispatcher], { MAX_RESULT_BYTES: "1KiB" }));
  port = registry.grpcPort;
});
after(() => stack.disposeAsync());
beforeEach(() => {
  dispatcher.acknowledging = true;
});

const outcomeOf = (taskId: string) =>
  dispatcher.until(`the outcome of ${taskId}`, () =>
    dispatcher.outcomes.find(({ outcome }) => outcome.taskId === taskId),
  );
const ids = (refs: readonly { taskId: string }[]): string[] => refs.map(({ taskId }) => taskId).toSorted();

test("an assignment goes down, its outcome up, and is acknowledged once the Dispatcher has dealt with it", async () => {
  using agent = await TestAgent.connect(port, { agentId: "basic", slots: 2, labels: [{ key: "region", value: "eu" }] });
  const welcome = await agent.welcome();
  assert.equal(welcome.resumed, false);
  assert.equal(welcome.leaseDuration?.seconds, 2n);
  assert.equal(welcome.maxResultBytes, 1024);
  const { attach } = await dispatcher.attached(agent.sessionId);
  assert.equal(attach.slots, 2);
  assert.equal(attach.weight, 100);
  assert.deepEqual([attach.namespace, attach.name, attach.version], ["default", "basic", "0"]);
  assert.deepEqual(
    attach.labels.map(({ key }) => key),
    ["region"],
  );

  dispatcher.assign(agent.sessionId, "t1");
  await agent.assigned("t1");
  agent.send({ progress: [{ taskId: "t1", attempt: 1, fraction: 0.5 }] });
  await dispatcher.until("the progress", () => dispatcher.progress.some(({ fraction }) => fraction === 0.5));
  dispatcher.acknowledging = false;
  agent.complete("t1");
  const answered = agent.lastSeq;
  await outcomeOf("t1");
  agent.send({ heartbeat: {} });
  const heard = agent.frames.length;
  await agent.until("a heartbeat", () => agent.frames.length > heard && agent.frames.at(-1)?.heartbeat);
  assert.ok(agent.acknowledged < answered, "not before it is dealt with");
  dispatcher.acknowledging = true;
  await agent.whenAcknowledged(answered);
});

test("news that come in the frame of their outcome are told", async () => {
  using agent = await TestAgent.connect(port, { agentId: "last-news" });
  await dispatcher.attached(agent.sessionId);
  dispatcher.assign(agent.sessionId, "n1");
  await agent.assigned("n1");
  const outcome = { kind: { case: "completed" as const, value: {} } };
  agent.send({
    progress: [{ taskId: "n1", attempt: 1, fraction: 1 }],
    outcomes: [{ taskId: "n1", attempt: 1, outcome }],
  });
  await outcomeOf("n1");
  assert.equal(dispatcher.progress.find(({ taskId }) => taskId === "n1")?.fraction, 1);
});

test("many assignments come in frames of 256, a large one alone", async () => {
  using agent = await TestAgent.connect(port, { agentId: "many", slots: 1_000 });
  await dispatcher.attached(agent.sessionId);
  const small = Array.from({ length: 600 }, (_, i) => assignment(`m${i}`));
  const large = assignment("large", Buffer.alloc(3 * 1024 * 1024, " "));
  dispatcher.send(agent.sessionId, { assignments: [...small, large] });
  await agent.assigned("large", "m0", "m599");
  const counts = agent.frames.map(({ assignments }) => assignments.length).filter((count) => count > 0);
  assert.deepEqual(counts, [256, 256, 88, 1]);
});

test("outcomes that cannot be are answered without harm", async () => {
  using agent = await TestAgent.connect(port, { agentId: "wrong", slots: 3 });
  await dispatcher.attached(agent.sessionId);
  agent.complete("another's");
  const unknown = await agent.until("the rejection", () => agent.frames.flatMap(({ rejections }) => rejections)[0]);
  assert.deepEqual([unknown.taskId, unknown.reason], ["another's", "UNKNOWN_ATTEMPT"]);

  dispatcher.assign(agent.sessionId, "empty", "huge");
  await agent.assigned("empty", "huge");
  agent.send({
    outcomes: [
      { taskId: "empty", attempt: 2 },
      { taskId: "empty", attempt: 1 },
    ],
  });
  const empty = await outcomeOf("empty");
  assert.ok(empty.outcome.outcome?.kind.case === "failed");
  assert.equal(empty.outcome.attempt, 1);
  assert.equal(empty.outcome.outcome.kind.value.code, "INVALID_OUTCOME");
  assert.equal(empty.outcome.outcome.kind.value.retryable, false);

  const result = { data: Buffer.alloc(1025) };
  agent.send({
    outcomes: [{ taskId: "huge", attempt: 1, outcome: { kind: { case: "completed", value: { result } } } }],
  });
  const huge = await outcomeOf("huge");
  assert.ok(huge.outcome.outcome?.kind.case === "failed");
  assert.equal(huge.outcome.outcome.kind.value.code, "RESULT_TOO_LARGE");
  assert.match(huge.outcome.outcome.kind.value.message, /1025.*1024/);
  await agent.whenAcknowledged(agent.lastSeq);
  assert.equal(agent.closed, false);
});

test("cancels and rejections are passed on", async () => {
  using agent = await TestAgent.connect(port, { agentId: "canceled" });
  await dispatcher.attached(agent.sessionId);
  dispatcher.assign(agent.sessionId, "stop");
  await agent.assigned("stop");
  const rejections = [{ taskId: "x", attempt: 1, reason: "LEASE_LOST", message: "m" }];
  dispatcher.send(agent.sessionId, {
    cancels: [{ taskId: "stop", attempt: 1, cause: CancelCause.TIMEOUT, reason: "r" }],
    rejections,
  });
  const frame = await agent.until("the cancel", () => agent.frames.find(({ cancels }) => cancels.length > 0));
  assert.deepEqual([frame.cancels[0]?.taskId, frame.cancels[0]?.cause], ["stop", CancelCause.TIMEOUT]);
  assert.equal(frame.rejections[0]?.reason, "LEASE_LOST");
});

test("a session that cannot be resumed ends with its stream: what was acknowledged may have begun, the rest never arrived", async () => {
  const agent = await TestAgent.connect(port, { agentId: "breaks", slots: 4 }, { heartbeatMs: 3_600_000 });
  await dispatcher.attached(agent.sessionId);
  dispatcher.assign(agent.sessionId, "seen", "answered");
  await agent.assigned("seen", "answered");
  agent.complete("answered");
  await outcomeOf("answered");
  dispatcher.assign(agent.sessionId, "unseen");
  await agent.assigned("unseen");
  agent[Symbol.dispose]();
  const end = await dispatcher.ended(agent.sessionId);
  assert.deepEqual(ids(end.received), ["seen"]);
  assert.equal(end.receivedUnknown, false);
});

test("a session goes on after its stream broke, with what the agent holds", async () => {
  const agent = await TestAgent.connect(port, { agentId: "resumes", slots: 4, resumable: true });
  await dispatcher.attached(agent.sessionId);
  dispatcher.assign(agent.sessionId, "kept", "dropped", "done");
  await agent.assigned("kept", "dropped", "done");
  dispatcher.acknowledging = false;
  agent.complete("done");
  await outcomeOf("done");
  agent[Symbol.dispose]();
  const { sessionId } = agent;
  await dispatcher.until("no slots", () =>
    dispatcher.sessions.get(sessionId)?.updates.some(({ slots }) => slots === 0),
  );
  const attaches = dispatcher.attaches.length;

  const inFlight = [
    { taskId: "kept", attempt: 1 },
    { taskId: "done", attempt: 1 },
    { taskId: "never", attempt: 3 },
  ];
  using again = await TestAgent.connect(port, { agentId: "resumes", slots: 5, resumable: true, sessionId, inFlight });
  const welcome = await again.welcome();
  assert.equal(welcome.resumed, true);
  assert.equal(welcome.sessionId, sessionId);
  assert.deepEqual(ids(welcome.lost), ["never"]);
  const attach = await dispatcher.until("the attach", () => dispatcher.attaches[attaches]);
  assert.deepEqual(ids(attach.inFlight), ["done", "kept"], "what it does not name goes back");
  assert.equal(attach.slots, 5);

  again.complete("done");
  const repeated = again.lastSeq;
  again.complete("kept");
  await outcomeOf("kept");
  assert.ok(again.acknowledged < repeated);
  dispatcher.acknowledging = true;
  await again.whenAcknowledged(again.lastSeq);
  assert.equal(dispatcher.outcomes.filter(({ outcome }) => outcome.taskId === "done").length, 1, "it was on its way");
  assert.equal(again.frames.flatMap(({ rejections }) => rejections).length, 0);
});

test("a session that is gone cannot be resumed; nor can another agent's", async () => {
  using owner = await TestAgent.connect(port, { agentId: "owner", resumable: true });
  using thief = await TestAgent.connect(port, { agentId: "thief", sessionId: owner.sessionId, resumable: true });
  assert.equal((await thief.welcome()).resumed, false);
  assert.notEqual(thief.sessionId, owner.sessionId);
  for (const [index, sessionId] of ["nonsense", "6b9754d2-4e5e-4371-82a7-3eb3a87e8a89"].entries()) {
    using agent = await TestAgent.connect(port, { agentId: `late-${index}`, sessionId });
    assert.equal((await agent.welcome()).resumed, false);
  }
  assert.equal(owner.closed, false);
});

test("a newer session of an agent ends the older", async () => {
  using older = await TestAgent.connect(port, { agentId: "fenced", resumable: true });
  await dispatcher.attached(older.sessionId);
  dispatcher.assign(older.sessionId, "begun");
  await older.assigned("begun");
  older.send({ heartbeat: {} });
  using newer = await TestAgent.connect(port, { agentId: "fenced" });
  assert.equal(await older.end(), "SESSION_FENCED");
  assert.deepEqual(ids((await dispatcher.ended(older.sessionId)).received), ["begun"]);
  await dispatcher.attached(newer.sessionId);
  assert.equal(newer.closed, false);

  using back = new TestAgent(port);
  back.hello({ agentId: "fenced", sessionId: older.sessionId, resumable: true });
  assert.equal(await back.end(), "SESSION_FENCED", "the older one, come back, does not end the newer");
  assert.equal(newer.closed, false);
});

test("a resumable session whose stream is ended without a drain can be resumed, as after any broken stream", async () => {
  using agent = await TestAgent.connect(port, { agentId: "half-closes", slots: 2, resumable: true });
  await dispatcher.attached(agent.sessionId);
  dispatcher.assign(agent.sessionId, "held");
  await agent.assigned("held");
  agent.stream.end();
  assert.equal(await agent.end(), "");
  const inFlight = [{ taskId: "held", attempt: 1 }];
  const { sessionId } = agent;
  using again = await TestAgent.connect(port, {
    agentId: "half-closes",
    slots: 2,
    resumable: true,
    sessionId,
    inFlight,
  });
  assert.deepEqual([again.frames[0]?.welcome?.resumed, again.sessionId], [true, sessionId]);
  again.complete("held");
  await again.whenAcknowledged(again.lastSeq);
  const stranger = { sessionId: crypto.randomUUID(), inFlight };
  using anew = await TestAgent.connect(port, { agentId: "begins-anew", resumable: true, ...stranger });
  const welcome = anew.frames[0]?.welcome;
  assert.deepEqual([welcome?.resumed, ids(welcome?.lost ?? [])], [false, ["held"]]);
});

test("a session that does not come back in time is over", async () => {
  const agent = await TestAgent.connect(port, { agentId: "away", slots: 2, resumable: true });
  await dispatcher.attached(agent.sessionId);
  dispatcher.assign(agent.sessionId, "held");
  await agent.assigned("held");
  agent.send({ heartbeat: {} });
  await agent.whenAcknowledged(agent.lastSeq);
  agent[Symbol.dispose]();
  const end = await dispatcher.ended(agent.sessionId);
  assert.deepEqual(ids(end.received), ["held"]);
  assert.match(end.reason, /lease/);
});

test("an agent that says nothing, and one that hears nothing, lose their sessions and nobody else does", async () => {
  using silent = await TestAgent.connect(port, { agentId: "silent" });
  using deaf = await TestAgent.connect(port, { agentId: "deaf", resumable: true });
  using healthy = await TestAgent.connect(port, { agentId: "healthy" });
  await dispatcher.attached(deaf.sessionId);
  dispatcher.assign(deaf.sessionId, "unheard");
  await deaf.assigned("unheard");
  deaf.acknowledges = false;
  silent.stopHeartbeats();
  assert.deepEqual(await Promise.all([silent.end(), deaf.end()]), ["SESSION_EXPIRED", "SESSION_EXPIRED"]);
  assert.deepEqual((await dispatcher.ended(deaf.sessionId)).received, []);
  assert.equal(healthy.closed, false);
  assert.ok(healthy.frames.filter(({ heartbeat }) => heartbeat).length >= 3, "it hears from us at the interval");
});

test("an agent that drains is given nothing more, finishes, and ends", async () => {
  using agent = await TestAgent.connect(port, { agentId: "drains", slots: 4 });
  const attached = await dispatcher.attached(agent.sessionId);
  dispatcher.assign(agent.sessionId, "last");
  await agent.assigned("last");
  agent.send({ drain: { reason: "deploy" } });
  await dispatcher.until("no slots", () => attached.updates.some(({ slots }) => slots === 0));
  const attaches = dispatcher.attaches.length;
  dispatcher.assign(agent.sessionId, "late");
  const again = await dispatcher.until("what was given too late to be given back", () => dispatcher.attaches[attaches]);
  assert.deepEqual(ids(again.inFlight), ["last"]);
  assert.equal(again.slots, 0);
  agent.complete("last");
  await agent.whenAcknowledged(agent.lastSeq);
  agent.stream.end();
  assert.equal(await agent.end(), "");
  assert.deepEqual((await dispatcher.ended(agent.sessionId)).received, []);
  assert.deepEqual(
    agent.assignments.map(({ taskId }) => taskId),
    ["last"],
  );
});

test("an agent is never given more than its slots, also when it has just lowered them", async () => {
  using agent = await TestAgent.connect(port, { agentId: "lowers", slots: 4 });
  const attached = await dispatcher.attached(agent.sessionId);
  agent.send({ setSlots: { slots: 1 } });
  await dispatcher.until("one slot", () => attached.updates.some(({ slots }) => slots === 1));
  const attaches = dispatcher.attaches.length;
  dispatcher.assign(agent.sessionId, "one", "two");
  await agent.assigned("one");
  const again = await dispatcher.until("the second to be given back", () => dispatcher.attaches[attaches]);
  assert.deepEqual(ids(again.inFlight), ["one"]);
  assert.deepEqual(
    agent.assignments.map(({ taskId }) => taskId),
    ["one"],
  );
});
