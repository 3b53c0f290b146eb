import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AttemptCanceled, TaskError } from "#libs/agent/index.ts";
import { LegionCore, TaskFailedError } from "#libs/client/index.ts";
import type { AgentHandler, LegionError, TaskCanceledError } from "#libs/client/index.ts";
import { isValidTraceparent, traceIdOf } from "#libs/telemetry/task-spans.ts";
import { memoryLog } from "../agent/harness/logs.ts";
import { type Mesh, startMesh } from "../harness/mesh.ts";
import { waitFor } from "../harness/wait-for.ts";

const stack = new AsyncDisposableStack();
let mesh: Mesh;
let core: LegionCore;

before(async () => {
  mesh = stack.use(await startMesh());
  core = stack.use(new LegionCore({ dispatcher: mesh.dispatcher.address, registry: mesh.registry.address }));
});
after(() => stack.disposeAsync());

const register = (capability: string, handler: AgentHandler) =>
  core.registerAgent(`${capability}-agent`, handler, [capability], { log: memoryLog().log, cancelGraceMs: 500 });

test("a registered agent does what is dispatched, many at once, each its own", async () => {
  await register("double", ({ n }) => ({ twice: Number(n) * 2 }));
  const results = await Promise.all(
    Array.from({ length: 500 }, (_, n) => core.dispatchTask(undefined, { n }, "double")),
  );
  assert.deepEqual(
    results,
    Array.from({ length: 500 }, (_, n) => ({ twice: n * 2 })),
  );
});

test("the same id is the same task, and does not run again; with other content it is a conflict", async () => {
  let executions = 0;
  await register("once", ({ n }) => ({ n, executions: ++executions }));
  const first = await core.dispatchTask("same", { n: 1 }, "once");
  assert.deepEqual(await core.dispatchTask("same", { n: 1 }, "once"), first);
  const handle = await core.dispatchTaskAsync("same", { n: 1 }, "once");
  assert.deepEqual([handle.created, await handle.result(), executions], [false, first, 1]);
  for (const conflict of [core.dispatchTask("same", { n: 2 }, "once"), core.dispatchTask("same", { n: 1 }, "other")]) {
    await assert.rejects(conflict, (error: LegionError) => {
      assert.deepEqual([error.code, error.reason, error.taskId], ["ALREADY_EXISTS", "TASK_ID_CONFLICT", "same"]);
      return true;
    });
  }
});

test("progress and partial output reach the caller, and whoever watches", async () => {
  const { promise: seen, resolve: goOn } = Promise.withResolvers<void>();
  await register("steps", async (_data, { progress }) => {
    // Told to those who look at the moment: the caller begins to when it is known that the task is stored.
    const telling = setInterval(() => progress(0.5, "half", { rows: [1, 2] }), 5);
    await seen;
    clearInterval(telling);
    return { done: true };
  });
  const news: unknown[] = [];
  const result = await core.dispatchTask("stepping", {}, "steps", {
    onProgress(progress) {
      news.push(progress);
      goOn();
    },
  });
  assert.deepEqual(result, { done: true });
  assert.deepEqual(news[0], { fraction: 0.5, message: "half", output: { rows: [1, 2] } });
  const events = await Array.fromAsync(core.watchTask("stepping"));
  assert.deepEqual([events.length, events[0]?.state, events[0]?.outcome?.result], [1, "COMPLETED", { done: true }]);
});

test("cancel reaches the handler with its reason, and the caller as an error of its own", async () => {
  let why: unknown;
  const { promise: started, resolve: start } = Promise.withResolvers<void>();
  await register("endless", async (_data, { signal }) => {
    start();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    why = signal.reason;
    signal.throwIfAborted();
  });
  const handle = await core.dispatchTaskAsync("stopped", {}, "endless");
  const result = assert.rejects(handle.result(), (error: TaskCanceledError) => {
    assert.deepEqual([error.name, error.taskId, error.reason], ["TaskCanceledError", "stopped", "enough"]);
    return true;
  });
  await started;
  assert.equal((await handle.status()).state, "LEASED");
  assert.equal(await handle.cancel("enough"), "LEASED");
  await result;
  assert.ok(why instanceof AttemptCanceled);
  assert.deepEqual([why.cause, why.message], ["REQUESTED", "enough"]);
  assert.equal((await handle.status()).state, "CANCELED");
  assert.equal(await handle.cancel(), "CANCELED", "canceling what is over changes nothing");
});

test("a failure keeps its words; a retryable one is tried again, until the attempts are used up", async () => {
  const attempts: number[] = [];
  await register("fails", ({ until, retryable }, { attempt, maxAttempts }) => {
    attempts.push(attempt);
    if (attempt >= Number(until)) return { attempt, maxAttempts };
    throw new TaskError("not yet", { code: "NOT_YET", retryable: Boolean(retryable), details: { attempt } });
  });
  const retryPolicy = { maxAttempts: 3, initialDelayMs: 10 };
  const failure = (state: string, attempt: number) => (error: TaskFailedError) => {
    assert.ok(error instanceof TaskFailedError);
    assert.deepEqual(
      [error.state, error.attempt, error.code, error.message, error.details],
      [state, attempt, "NOT_YET", "not yet", { attempt }],
    );
    return true;
  };
  assert.deepEqual(await core.dispatchTask("third", { until: 3, retryable: true }, "fails", { retryPolicy }), {
    attempt: 3,
    maxAttempts: 3,
  });
  await assert.rejects(
    core.dispatchTask("never", { until: 9, retryable: true }, "fails", { retryPolicy }),
    failure("DEAD", 3),
  );
  await assert.rejects(
    core.dispatchTask("final", { until: 9, retryable: false }, "fails", { retryPolicy }),
    failure("FAILED", 1),
  );
  assert.deepEqual(attempts, [1, 2, 3, 1, 2, 3, 1]);
});

test("an attempt that takes too long is stopped and counts as a failure", async () => {
  const causes: unknown[] = [];
  await register("slow", async (_data, { signal }) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    causes.push((signal.reason as AttemptCanceled).cause);
    signal.throwIfAborted();
  });
  const options = { executionTimeoutMs: 100, retryPolicy: { maxAttempts: 2, initialDelayMs: 1 } };
  await assert.rejects(core.dispatchTask("too-slow", {}, "slow", options), (error: TaskFailedError) => {
    assert.deepEqual([error.state, error.attempt, error.code], ["DEAD", 2, "EXECUTION_TIMEOUT"]);
    return true;
  });
  await waitFor(() => causes.length === 2, { describe: "both handlers to be told" });
  assert.deepEqual(causes, ["TIMEOUT", "TIMEOUT"]);
});

test("a task waits for an agent, says so, and runs when one registers", async () => {
  const handle = await core.dispatchTaskAsync("early", { n: 1 }, "tardy");
  const { state, waitingReason } = await handle.status();
  assert.deepEqual([state, waitingReason], ["QUEUED", "no agent offers 'tardy' yet"]);
  const result = handle.result();
  await register("tardy", () => ({ late: true }));
  assert.deepEqual(await result, { late: true });
});

test("without a collector each task has a trace of its own all the same, which its agent is told", async () => {
  await register("traced", (_data, { traceparent }) => ({ traceparent }));
  const handles = await Promise.all(
    ["t-1", "t-2"].map((taskId) => core.dispatchTaskAsync<{ traceparent: string }>(taskId, {}, "traced")),
  );
  const traces = await Promise.all(
    handles.map(async (handle) => {
      const { traceparent } = await handle.result();
      assert.ok(isValidTraceparent(traceparent), traceparent);
      assert.equal(traceIdOf((await handle.status()).traceparent), traceIdOf(traceparent));
      return traceIdOf(traceparent);
    }),
  );
  assert.notEqual(traces[0], traces[1]);
});

test("counters and health are those of the mesh", async () => {
  const { status, database, agents } = await core.healthCheck();
  const { activeAgents, tasksDead, tasksCanceled, tasksFailed, tasksQueued, tasksLeased } = await core.getMetrics();
  assert.deepEqual([status, database, agents], ["healthy", "connected", activeAgents]);
  assert.deepEqual([tasksDead, tasksFailed, tasksCanceled, tasksQueued, tasksLeased], [2, 3, 1, 0, 0]);
});
