import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import {
  type AgentDefinition,
  type AgentOptions,
  defineAgent,
  LegionAgent,
  type TaskContext,
  TaskError,
  type TaskData,
} from "#libs/agent/index.ts";
import { type AttemptOutcome, CancelCause } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { memoryLog } from "./harness/logs.ts";
import { TestRegistry } from "./harness/test-registry.ts";

async function startAgent<Outputs extends Record<string, any>>(
  capabilities: AgentDefinition<Outputs>["capabilities"],
  options: Partial<AgentOptions> = {},
) {
  const stack = new AsyncDisposableStack();
  const registry = stack.use(await TestRegistry.start());
  const { log, records } = memoryLog();
  const agent = defineAgent({ name: "tester", registry: registry.address, log, ...options, capabilities });
  stack.defer(() => agent.stop({ timeoutMs: 0 }));
  await agent.start();
  const stream = await registry.stream(0);
  return { agent, registry, stream, records, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

function resultOf({ outcome }: AttemptOutcome): unknown {
  assert.equal(outcome?.kind.case, "completed");
  return JSON.parse(Buffer.from(outcome.kind.value.result?.data ?? []).toString());
}

function failureOf({ outcome }: AttemptOutcome) {
  assert.equal(outcome?.kind.case, "failed", `it is ${outcome?.kind.case}`);
  const { code, message, retryable, retryDelay, details } = outcome.kind.value;
  const data = details === undefined ? undefined : JSON.parse(Buffer.from(details.data).toString());
  return { code, message, retryable, retryDelay, details: data };
}

test("results of sync and async handlers come back; undefined is null", async () => {
  await using given = await startAgent({
    greet: (data) => ({ greeting: `Hello, ${String(data["name"])}!` }),
    later: async (data) => {
      await pause(1);
      return data["list"];
    },
    nothing: () => undefined,
  });
  given.stream.assign(
    { taskId: "a", capability: "greet", data: { name: "Ada" } },
    { taskId: "b", capability: "later", data: { list: [1, "zwei", null] } },
    { taskId: "c", capability: "nothing" },
  );
  assert.deepEqual(resultOf(await given.stream.outcome("a")), { greeting: "Hello, Ada!" });
  assert.deepEqual(resultOf(await given.stream.outcome("b")), [1, "zwei", null]);
  assert.equal(resultOf(await given.stream.outcome("c")), null);
  await given.stream.until(({ last, seq }) => last.ack === seq, "the agent's ack of the last acknowledgement");
  const { state, completed, failed, canceled, inFlight } = given.agent.getStatus();
  assert.deepEqual(
    { state, completed, failed, canceled, inFlight },
    { state: "active", completed: 3, failed: 0, canceled: 0, inFlight: 0 },
  );
});

test("a subclass's executeAsync is preferred to its execute", async () => {
  class Both extends LegionAgent {
    override readonly capabilities = ["both"];
    override execute(): unknown {
      return "sync";
    }
    override async executeAsync(data: TaskData, context: TaskContext): Promise<unknown> {
      return `async, not ${String(await super.executeAsync(data, context))}`;
    }
  }
  await using registry = await TestRegistry.start();
  await using agent = new Both({ registry: registry.address, log: memoryLog().log });
  await agent.start();
  const stream = await registry.stream(0);
  assert.equal(stream.hello.name, "Both");
  stream.assign({ taskId: "a", capability: "both" });
  assert.equal(resultOf(await stream.outcome("a")), "async, not sync");
});

test("what is thrown becomes a failure, and the session goes on", async () => {
  class OutOfPaper extends Error {}
  const trap = Object.defineProperty(new Error("x"), "message", { get: () => assert.fail("not to be read") });
  const cyclic: Record<string, unknown> = {};
  cyclic["self"] = cyclic;
  const thrown: Record<string, unknown> = {
    typeError: new TypeError("no such thing"),
    ownClass: new OutOfPaper("tray 2"),
    text: "just text",
    object: { reason: 42 },
    trap,
    full: new TaskError("quota", { code: "QUOTA", retryable: false, retryDelayMs: 1500.5, details: { left: 0 } }),
    cyclicDetails: new TaskError("x", { details: cyclic }),
    long: new Error("ä".repeat(20_000)),
  };
  await using given = await startAgent({
    now: (data) => {
      throw thrown[String(data["what"])];
    },
    later: async (data) => {
      await pause(1);
      throw thrown[String(data["what"])];
    },
  });
  for (const what of Object.keys(thrown)) {
    given.stream.assign({ taskId: `now-${what}`, capability: "now", data: { what } });
    given.stream.assign({ taskId: `later-${what}`, capability: "later", data: { what } });
  }
  const failure = async (what: string) => {
    const both = await Promise.all(["now", "later"].map((when) => given.stream.outcome(`${when}-${what}`)));
    const [now, later] = both.map(failureOf);
    assert.deepEqual(now, later);
    return now!;
  };
  const plain = { retryable: true, retryDelay: undefined, details: undefined };
  assert.deepEqual(await failure("typeError"), { ...plain, code: "TypeError", message: "no such thing" });
  assert.deepEqual(await failure("ownClass"), { ...plain, code: "OutOfPaper", message: "tray 2" });
  assert.deepEqual(await failure("text"), { ...plain, code: "ERROR", message: "just text" });
  assert.deepEqual(await failure("object"), { ...plain, code: "ERROR", message: "{ reason: 42 }" });
  assert.equal((await failure("trap")).retryable, true);
  const full = await failure("full");
  assert.deepEqual([full.code, full.retryable, full.details], ["QUOTA", false, { left: 0 }]);
  assert.deepEqual([full.retryDelay?.seconds, full.retryDelay?.nanos], [1n, 500_500_000]);
  assert.equal((await failure("cyclicDetails")).details, undefined);
  assert.equal(Buffer.byteLength((await failure("long")).message), 16 * 1024);
});

test("a result that cannot be sent is a failure that says so", async () => {
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  const results: Record<string, unknown> = {
    bigint: { n: 1n },
    cyclic,
    function: () => 1,
    large: "x".repeat(999),
    fits: "x".repeat(998),
  };
  await using registry = await TestRegistry.start({ onHello: (stream) => stream.welcome({ maxResultBytes: 1_000 }) });
  await using agent = defineAgent({
    name: "tester",
    registry: registry.address,
    log: memoryLog().log,
    capabilities: { give: (data) => results[String(data["what"])] },
  });
  await agent.start();
  const stream = await registry.stream(0);
  for (const what of Object.keys(results)) stream.assign({ taskId: what, capability: "give", data: { what } });
  for (const what of ["bigint", "cyclic", "function"]) {
    const { code, retryable, message } = failureOf(await stream.outcome(what));
    assert.deepEqual([code, retryable], ["RESULT_NOT_SERIALIZABLE", false]);
    assert.match(message, /cannot be written as JSON: .*(BigInt|circular|function)/s);
  }
  const large = failureOf(await stream.outcome("large"));
  assert.equal(large.code, "RESULT_TOO_LARGE");
  assert.match(large.message, /1001 bytes.* 1000/);
  assert.equal(resultOf(await stream.outcome("fits")), results["fits"]);
});

test("a schema types and checks the data, and is declared in hello", async () => {
  const input = z.object({
    name: z.string().min(2),
    greeting: z.string().default("Hello"),
    on: z.coerce.date().optional(),
  });
  await using given = await startAgent({
    greet: { input, slots: 3, execute: ({ name, greeting }) => ({ name, greeting }) },
    slow: { input: input.refine(async () => false, "never"), execute: () => null },
    plain: { input: { type: "object", required: ["x"] }, execute: () => null },
  });
  const [greet, , plain] = given.stream.hello.capabilities;
  assert.equal(greet?.slots, 3);
  const schema: Record<string, unknown> = JSON.parse(greet?.inputSchema ?? "");
  assert.deepEqual([schema["type"], schema["required"]], ["object", ["name"]]);
  assert.deepEqual(JSON.parse(plain?.inputSchema ?? ""), { type: "object", required: ["x"] });

  given.stream.assign({ taskId: "good", capability: "greet", data: { name: "Ada" } });
  assert.deepEqual(resultOf(await given.stream.outcome("good")), { name: "Ada", greeting: "Hello" });
  given.stream.assign({ taskId: "bad", capability: "greet", data: { name: "A" } });
  const bad = failureOf(await given.stream.outcome("bad"));
  assert.deepEqual([bad.code, bad.retryable], ["TASK_DATA_SCHEMA_MISMATCH", false]);
  assert.match(JSON.stringify(bad.details), /"path":"name"/);
  given.stream.assign({ taskId: "slow", capability: "slow", data: { name: "Ada" } });
  assert.match(failureOf(await given.stream.outcome("slow")).message, /never/);
});

test("a canceled handler sees the cause and is answered as canceled", async () => {
  let reason: unknown;
  const { promise: started, resolve: start } = Promise.withResolvers<void>();
  await using given = await startAgent({
    wait: async (_data, { signal }) => {
      start();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      reason = signal.reason;
      return "too late";
    },
  });
  given.stream.assign({ taskId: "a", capability: "wait" });
  await started;
  given.stream.cancel("a", CancelCause.REQUESTED, "changed my mind");
  const { outcome } = await given.stream.outcome("a");
  assert.equal(outcome?.kind.case, "canceled");
  assert.equal(outcome.kind.value.reason, "changed my mind");
  assert.match(String(reason), /AttemptCanceled: changed my mind/);
  assert.equal(reason instanceof Error && reason.cause, "REQUESTED");
});

test("a handler that ignores its cancellation is answered for after the grace, once", async () => {
  const { promise: forever, resolve: release } = Promise.withResolvers<string>();
  const { promise: started, resolve: start } = Promise.withResolvers<void>();
  const stubborn = () => {
    start();
    return forever;
  };
  await using given = await startAgent({ stubborn, echo: (data) => data }, { cancelGraceMs: 20 });
  given.stream.assign({ taskId: "a", capability: "stubborn" });
  await started;
  given.stream.cancel("a", CancelCause.REQUESTED);
  assert.equal((await given.stream.outcome("a")).outcome?.kind.case, "canceled");
  assert.equal(given.agent.getStatus().inFlight, 0);
  release("done after all");
  given.stream.assign({ taskId: "b", capability: "echo" });
  await given.stream.outcome("b");
  assert.deepEqual(
    given.stream.outcomes.map(({ taskId }) => taskId),
    ["a", "b"],
  );
  const warnings = given.records.filter(({ level }) => level === "warn");
  assert.deepEqual(
    warnings.map(({ task_id, cause, grace_ms }) => ({ task_id, cause, grace_ms })),
    [{ task_id: "a", cause: "REQUESTED", grace_ms: 20 }],
  );
});

test("a handler tells its progress, its costs and a pause, and knows its task", async () => {
  const seen: Record<string, unknown>[] = [];
  await using given = await startAgent({
    work: async (_data, context) => {
      const { taskId, attempt, maxAttempts, capability, user, labels, deadline, traceparent } = context;
      seen.push({
        taskId,
        attempt,
        maxAttempts,
        capability,
        user,
        labels,
        traceparent,
        left: deadline!.getTime() - Date.now(),
      });
      for (let step = 0; step < 100; step++) context.progress(step / 100, `step ${step}`);
      context.progress(1, "with output", { rows: [1] });
      const { progress } = context;
      progress(NaN);
      context.progress(0.5, "too much", "x".repeat(70_000));
      context.reportCosts({ llm_tokens: 10, tasks: 1n });
      context.reportCosts({ llm_tokens: 1_200 });
      assert.throws(() => context.reportCosts({ llm_tokens: 0.5 }), RangeError);
      context.pauseLimit(30_000, "api");
      context.log.info("working");
      await pause(2);
      return null;
    },
  });
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  given.stream.assign({
    taskId: "a",
    attempt: 2,
    capability: "work",
    user: "ada",
    labels: [{ key: "region", value: "eu" }],
    traceparent,
    executionTimeout: { seconds: 60n },
  });
  const outcome = await given.stream.outcome("a");
  const { left, ...rest } = seen[0]!;
  assert.deepEqual(rest, {
    taskId: "a",
    attempt: 2,
    maxAttempts: 3,
    capability: "work",
    user: "ada",
    labels: { region: "eu" },
    traceparent,
  });
  assert.ok(Number(left) > 50_000 && Number(left) <= 60_000, `${String(left)} ms are left`);

  assert.deepEqual(
    outcome.stats?.costs.map(({ unit, amount }) => [unit, amount]),
    [
      ["llm_tokens", 1_200n],
      ["tasks", 1n],
    ],
  );
  assert.deepEqual([outcome.pause?.limit, outcome.pause?.retryDelay?.seconds], ["api", 30n]);
  assert.ok(outcome.stats.memoryAfterBytes > 1_000_000n);
  assert.ok((outcome.stats.duration?.nanos ?? 0) > 1e6);

  const news = given.stream.frames.flatMap(({ progress }) => progress);
  assert.deepEqual(
    news.map(({ message }) => message),
    ["with output", "too much"],
  );
  assert.equal(Buffer.from(news[0]?.output?.data ?? []).toString(), '{"rows":[1]}');
  const record = given.records.find(({ msg }) => msg === "working");
  assert.deepEqual([record?.["task_id"], record?.["trace_id"]], ["a", traceparent.slice(3, 35)]);
});

function burn(): null {
  for (const end = performance.now() + 10; performance.now() < end;);
  return null;
}

test("one frame's handlers that burn CPU leave room for heartbeats between them", async () => {
  await using registry = await TestRegistry.start({ onHello: (stream) => stream.welcome({ heartbeatMs: 50 }) });
  await using agent = defineAgent({
    name: "burner",
    registry: registry.address,
    log: memoryLog().log,
    slots: 50,
    capabilities: { burn },
  });
  await agent.start();
  const stream = await registry.stream(0);
  stream.assign(...Array.from({ length: 50 }, (_, n) => ({ taskId: `t${n}`, capability: "burn" })));
  await stream.outcome("t49");
  // 50 tasks of 10 ms: several intervals pass while they run.
  const beats = stream.frames.filter(({ heartbeat }) => heartbeat !== undefined).length;
  assert.ok(beats >= 3, `${beats} heartbeats`);
});
