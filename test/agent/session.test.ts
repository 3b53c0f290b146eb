import assert from "node:assert/strict";
import { test } from "node:test";
import { legionError } from "#libs/rpc/errors.ts";
import {
  AttemptCanceled,
  AgentError,
  type AgentOptions,
  defineAgent,
  type LegionAgent,
  type TaskContext,
} from "#libs/agent/index.ts";
import { freePorts } from "../harness/free-ports.ts";
import { waitFor } from "../harness/wait-for.ts";
import { memoryLog } from "./harness/logs.ts";
import { TestRegistry, type TestRegistryOptions } from "./harness/test-registry.ts";

/** An agent whose handlers run until the test says how they come out. */
async function startAgent(registryOptions: TestRegistryOptions = {}, options: Partial<AgentOptions> = {}) {
  const stack = new AsyncDisposableStack();
  const registry = stack.use(await TestRegistry.start(registryOptions));
  const { log, records } = memoryLog();
  const started: string[] = [];
  const running = new Map<string, { finish: (result: unknown) => void; context: TaskContext }>();
  const hold = (_data: unknown, context: TaskContext) =>
    new Promise((resolve) => {
      started.push(context.taskId);
      running.set(context.taskId, { finish: resolve, context });
    });
  const agent = defineAgent({
    name: "tester",
    agentId: "tester-1",
    registry: registry.address,
    log,
    cancelGraceMs: 20,
    ...options,
    capabilities: { hold, now: ({ n }) => n },
  });
  stack.defer(() => agent.stop({ timeoutMs: 0 }));
  await agent.start();
  const stream = await registry.stream(0);
  const holds = async (...taskIds: string[]) => {
    stream.assign(...taskIds.map((taskId) => ({ taskId, capability: "hold" })));
    await stream.until(() => taskIds.every((taskId) => running.has(taskId)) || stream.send({}), "the handlers' start");
  };
  return {
    agent,
    registry,
    stream,
    records,
    started,
    running,
    holds,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

test("hello says who the agent is; frames are numbered and acknowledged; heartbeats go on", async () => {
  await using given = await startAgent(
    { onHello: (stream) => stream.welcome({ heartbeatMs: 20 }) },
    { version: "2", namespace: "acme", labels: { region: "eu" }, slots: 7 },
  );
  const { hello } = given.stream;
  assert.deepEqual(
    [hello.agentId, hello.name, hello.version, hello.namespace, hello.slots, hello.resumable, hello.sessionId],
    ["tester-1", "tester", "2", "acme", 7, true, ""],
  );
  assert.deepEqual(
    hello.capabilities.map(({ name }) => name),
    ["hold", "now"],
  );
  assert.deepEqual(
    hello.labels.map(({ key, value }) => [key, value]),
    [["region", "eu"]],
  );
  await given.stream.until(({ frames }) => frames.filter(({ heartbeat }) => heartbeat).length >= 3, "three heartbeats");
  given.stream.assign({ taskId: "a", capability: "now", data: { n: 1 } });
  await given.stream.outcome("a");
  await given.stream.until(({ last, seq }) => last.ack === seq, "an ack of everything");
  assert.deepEqual(
    given.stream.frames.map(({ seq }) => seq),
    given.stream.frames.map((_, n) => BigInt(n + 1)),
  );
});

test("the assignments' ack leaves before their handlers answer", async () => {
  await using given = await startAgent();
  given.stream.assign({ taskId: "a", capability: "now", data: { n: 1 } });
  await given.stream.outcome("a");
  const answered = given.stream.frames.findIndex(({ outcomes }) => outcomes.length > 0);
  assert.equal(given.stream.frames[answered - 1]?.ack, 2n);
});

test("after a broken stream the session is resumed and nothing runs twice", async () => {
  await using given = await startAgent();
  await given.holds("a", "b", "c");
  given.stream.break();
  await given.registry.until(() => given.stream.closed !== undefined, "the break");
  // One ends while there is no stream.
  given.running.get("b")?.finish("B");
  const second = await given.registry.stream(1);
  assert.equal(second.hello.sessionId, "session-1");
  assert.deepEqual(second.hello.inFlight.map(({ taskId, attempt }) => `${taskId}/${attempt}`).toSorted(), [
    "a/1",
    "b/1",
    "c/1",
  ]);
  given.running.get("a")?.finish("A");
  await Promise.all([second.outcome("a"), second.outcome("b")]);
  // A careless Registry sends one again that the agent said it holds.
  second.assign({ taskId: "c", capability: "hold" });
  second.assign({ taskId: "d", capability: "now", data: { n: 4 } });
  await second.outcome("d");
  given.running.get("c")?.finish("C");
  await second.outcome("c");
  assert.deepEqual(given.started, ["a", "b", "c"]);
  assert.deepEqual(second.outcomes.map(({ taskId }) => taskId).toSorted(), ["a", "b", "c", "d"]);
  assert.equal(given.running.get("a")?.context.signal.aborted, false);
});

test("an outcome is kept, and sent again on each new stream, until it is acknowledged", async () => {
  await using given = await startAgent({ acknowledge: false });
  given.stream.assign(
    { taskId: "a", capability: "now", data: { n: 1 } },
    { taskId: "b", capability: "now", data: { n: 2 } },
  );
  await given.stream.outcome("b");
  given.stream.break();
  const second = await given.registry.stream(1);
  assert.deepEqual(
    second.hello.inFlight.map(({ taskId }) => taskId),
    ["a", "b"],
  );
  await second.outcome("b");
  assert.equal(given.agent.getStatus().unacknowledged, 2);
  second.acknowledge();
  second.assign({ taskId: "c", capability: "now", data: { n: 3 } });
  await second.outcome("c");
  second.break();
  const third = await given.registry.stream(2);
  assert.deepEqual(
    third.hello.inFlight.map(({ taskId }) => taskId),
    ["c"],
  );
  await third.outcome("c");
  assert.deepEqual(
    third.outcomes.map(({ taskId }) => taskId),
    ["c"],
  );
  third.acknowledge();
});

test("what the mesh has given to others is stopped and not answered", async () => {
  let hellos = 0;
  await using given = await startAgent({
    onHello(stream) {
      const lost = ++hellos === 1 ? [] : stream.hello.inFlight.filter(({ taskId }) => taskId !== "keep");
      stream.welcome({ lost });
    },
  });
  await given.holds("keep", "lost", "lost-done");
  given.stream.break();
  await given.registry.until(() => given.stream.closed !== undefined, "the break");
  given.running.get("lost-done")?.finish(1);
  const second = await given.registry.stream(1);
  second.assign({ taskId: "next", capability: "now" });
  await second.outcome("next");
  assert.equal(causeOf(given.running.get("lost")), "LEASE_LOST");
  given.running.get("lost")?.finish(1);
  given.running.get("keep")?.finish(1);
  await second.outcome("keep");
  assert.deepEqual(
    second.outcomes.map(({ taskId }) => taskId),
    ["next", "keep"],
  );
});

for (const ending of ["SESSION_EXPIRED", "not resumed"]) {
  test(`a session that is gone is let go, and a new one begins (${ending})`, async () => {
    let hellos = 0;
    await using given = await startAgent({
      onHello: (stream) => stream.welcome({ sessionId: `session-${++hellos}`, resumed: false }),
    });
    await given.holds("a");
    if (ending === "SESSION_EXPIRED") given.stream.fail(legionError("SESSION_EXPIRED", "Nothing was heard."));
    else given.stream.break();
    const second = await given.registry.stream(1);
    assert.equal(second.hello.sessionId, ending === "SESSION_EXPIRED" ? "" : "session-1");
    assert.deepEqual(second.hello.inFlight.length, ending === "SESSION_EXPIRED" ? 0 : 1);
    second.assign({ taskId: "b", capability: "now" });
    await second.outcome("b");
    assert.equal(causeOf(given.running.get("a")), "LEASE_LOST");
    const { state, sessionId, inFlight } = given.agent.getStatus();
    assert.deepEqual([state, sessionId, inFlight], ["active", "session-2", 0]);
  });
}

test("a fenced agent stops, says why, and does not come back", { timeout: 10_000 }, async () => {
  await using given = await startAgent();
  await given.holds("a");
  given.stream.fail(legionError("SESSION_FENCED", "A newer session began."));
  await assert.rejects(given.agent.stopped!, (error: AgentError) => {
    assert.ok(error instanceof AgentError);
    assert.equal(error.reason, "SESSION_FENCED");
    assert.match(error.message, /Another process uses the agent id tester-1/);
    return true;
  });
  assert.equal(given.agent.getStatus().state, "stopped");
  assert.equal(given.running.get("a")?.context.signal.aborted, true);
  // Nothing is left that could bring it back: stopping it is done at once.
  await given.agent.stop();
  assert.equal(given.registry.streams.length, 1);
});

test("start is refused for good by INVALID_ARGUMENT, with the violations", async () => {
  await using registry = await TestRegistry.start({
    onHello: (stream) =>
      stream.fail(
        legionError("SCHEMA_INVALID", "The schema of greet is not valid.", {
          violations: [{ field: "capabilities[0].input_schema", description: "unknown type" }],
        }),
      ),
  });
  const agent = newAgent({ registry: registry.address });
  await assert.rejects(agent.start(), (error: AgentError) => {
    assert.equal(error.reason, "SCHEMA_INVALID");
    assert.match(
      error.message,
      /refuses the agent.*greet is not valid.*\n {2}capabilities\[0\].input_schema: unknown type/s,
    );
    return true;
  });
  assert.equal(agent.getStatus().state, "stopped");
  await assert.rejects(agent.start(), /only once/);
});

test("start waits for a Registry that is not there yet, and for one that is not ready", async () => {
  const [port = 0] = await freePorts(1);
  const { log, records } = memoryLog();
  await using agent = newAgent({ registry: `127.0.0.1:${port}`, log });
  const started = agent.start();
  await waitFor(() => records.some(({ msg }) => String(msg).startsWith("cannot reach")), { describe: "a warning" });
  assert.equal(agent.getStatus().state, "starting");
  let hellos = 0;
  await using registry = await TestRegistry.start({
    port,
    onHello(stream) {
      if (++hellos === 1) stream.fail(legionError("DATABASE_UNAVAILABLE", "No database."));
      else stream.welcome();
    },
  });
  await started;
  assert.equal(agent.getStatus().state, "active");
  assert.equal(registry.streams.length, 2);
  await agent.stop();
});

test("start can be given up, and an agent that never started can be stopped", async () => {
  const [port = 0] = await freePorts(1);
  const agent = newAgent({ registry: `127.0.0.1:${port}` });
  const giveUp = new AbortController();
  const started = agent.start({ signal: giveUp.signal });
  giveUp.abort(new Error("changed my mind"));
  await assert.rejects(started, /changed my mind/);
  assert.equal(agent.getStatus().state, "stopped");
  const other = newAgent({});
  await other.stop();
  await assert.rejects(other.start());
});

test("stop drains: says so, finishes what runs, and ends the stream in order", async () => {
  await using given = await startAgent();
  await given.holds("a");
  const stopped = given.agent.stop();
  await given.stream.until(({ frames }) => frames.some(({ drain }) => drain !== undefined), "the drain");
  assert.equal(given.agent.getStatus().state, "draining");
  given.running.get("a")?.finish("A");
  await stopped;
  assert.equal(given.stream.outcomes[0]?.outcome?.kind.case, "completed");
  assert.equal(given.stream.closed, null);
  await given.agent.stopped;
  assert.equal(given.agent.getStatus().state, "stopped");
});

test("stop gives what runs for too long back as a failure that is tried again", async () => {
  await using given = await startAgent();
  await given.holds("a");
  await given.agent.stop({ timeoutMs: 1 });
  const kind = given.stream.outcomes[0]?.outcome?.kind;
  assert.equal(kind?.case, "failed");
  assert.deepEqual([kind.value.code, kind.value.retryable], ["AGENT_STOPPED", true]);
  assert.equal(causeOf(given.running.get("a")), "AGENT_STOPPED");
});

test("an agent that stops while its stream is broken still delivers what it has", async () => {
  await using given = await startAgent();
  await given.holds("a");
  given.stream.break();
  const stopped = given.agent.stop();
  const second = await given.registry.stream(1);
  given.running.get("a")?.finish("A");
  await second.outcome("a");
  await stopped;
  assert.ok(second.frames.some(({ drain }) => drain !== undefined));
});

test("told to drain and reconnect, it opens the new stream first and loses nothing", async () => {
  let hellos = 0;
  await using given = await startAgent({
    onHello(stream) {
      if (++hellos !== 2) stream.welcome();
    },
  });
  await given.holds("a", "b");
  given.stream.drain("rolling update", true);
  const second = await given.registry.stream(1);
  assert.equal(given.stream.closed, undefined);
  assert.deepEqual(
    second.hello.inFlight.map(({ taskId }) => taskId),
    ["a", "b"],
  );
  // Between the new hello and its welcome: an outcome waits, a late assignment on the old stream is not taken.
  given.running.get("a")?.finish("A");
  given.stream.assign({ taskId: "late", capability: "hold" });
  second.welcome();
  second.assign({ taskId: "c", capability: "now" });
  await Promise.all([second.outcome("a"), second.outcome("c")]);
  await given.registry.until(() => given.stream.closed === null, "the old stream's end");
  given.running.get("b")?.finish("B");
  await second.outcome("b");
  assert.deepEqual(given.started, ["a", "b"]);
  assert.deepEqual(given.stream.outcomes, []);
  assert.equal(given.agent.getStatus().state, "active");
});

test("if nobody else takes it, a draining Registry's stream goes on as if nothing had been", async () => {
  let hellos = 0;
  await using given = await startAgent({
    onHello(stream) {
      if (++hellos === 1) stream.welcome();
    },
  });
  await given.holds("a");
  given.stream.drain("rolling update", true);
  const second = await given.registry.stream(1);
  given.stream.assign({ taskId: "late", capability: "hold" });
  given.running.get("a")?.finish("A");
  second.fail(legionError("SHUTTING_DOWN", "This replica goes away too.", { retryDelayMs: 60_000 }));
  await given.stream.outcome("a");
  await given.stream.until(() => given.running.has("late") || given.stream.send({}), "the late assignment's start");
  given.running.get("late")?.finish("late");
  await given.stream.outcome("late");
  assert.equal(given.registry.streams.length, 2);
  assert.equal(given.agent.getStatus().state, "active");
});

test("told to drain for good, it finishes and stops", async () => {
  await using given = await startAgent();
  await given.holds("a");
  given.stream.drain("retired", false);
  await given.stream.until(() => given.agent.getStatus().state === "draining" || given.stream.send({}), "the drain");
  given.running.get("a")?.finish("A");
  await given.agent.stopped;
  assert.equal(given.stream.outcomes.length, 1);
  assert.equal(given.stream.closed, null);
  assert.equal(given.agent.getStatus().state, "stopped");
});

test("a Registry that falls silent is left", async () => {
  await using given = await startAgent({ onHello: (stream) => stream.welcome({ heartbeatMs: 20, leaseMs: 100 }) });
  const second = await given.registry.stream(1);
  assert.equal(second.hello.sessionId, "session-1");
  assert.match(JSON.stringify(given.records), /Nothing was heard from 127\.0\.0\.1:\d+ for 0\.1 s/);
});

/** Why a handler was asked to stop. */
function causeOf(running: { context: TaskContext } | undefined): unknown {
  const reason: unknown = running?.context.signal.reason;
  return reason instanceof AttemptCanceled ? reason.cause : undefined;
}

function newAgent(options: Partial<AgentOptions>): LegionAgent {
  return defineAgent({ name: "tester", log: memoryLog().log, ...options, capabilities: { greet: () => "hello" } });
}
