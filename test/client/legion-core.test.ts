import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { TestContext } from "node:test";
import { create } from "@bufbuild/protobuf";
import { LegionCore, LegionError, TaskCanceledError, TaskFailedError, WaitTimeoutError } from "#libs/client/index.ts";
import type { LegionCoreOptions } from "#libs/client/index.ts";
import { OutcomeSchema } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { GrpcServer } from "#libs/rpc/grpc-server.ts";
import { DispatcherService } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { freePorts } from "../harness/free-ports.ts";
import { waitFor } from "../harness/wait-for.ts";
import { completed, dataOf, failed } from "./payloads.ts";
import { StubDispatcher } from "./stub-dispatcher.ts";
import type { StubOptions } from "./stub-dispatcher.ts";

async function setUp(t: TestContext, options: StubOptions = {}, coreOptions: LegionCoreOptions = {}) {
  const stub = await StubDispatcher.start(options);
  const core = new LegionCore({ dispatcher: stub.target, ...coreOptions });
  t.after(async () => {
    await core.close();
    await stub.down();
  });
  return { stub, core };
}

const echo: StubOptions = { play: (spec) => completed(dataOf(spec)) };
const hold: StubOptions = { play: () => undefined };

describe("dispatchTask", () => {
  test("returns the result, under the id given", async (t) => {
    const { stub, core } = await setUp(t, echo);
    const result = await core.dispatchTask<{ name: string }>("t-1", { name: "Ada" }, "greet", { user: "u" });
    assert.equal(result.name, "Ada");
    const task = stub.tasks.get("t-1");
    assert.deepEqual([task?.capability, task?.user, task?.traceparent], ["greet", "u", ""]);
  });

  test("shares frames among what one turn brings forth, without receipts", async (t) => {
    const { stub, core } = await setUp(t, echo);
    const numbers = Array.from({ length: 600 }, (_, n) => n);
    const results = await Promise.all(numbers.map((n) => core.dispatchTask(`t-${n}`, { n }, "greet")));
    assert.deepEqual(
      results,
      numbers.map((n) => ({ n })),
    );
    assert.deepEqual(stub.frameSizes, [256, 256, 88]);
    assert.ok(stub.received.every(({ omitReceipts, omitOutcomes }) => omitReceipts && !omitOutcomes));
  });

  test("hands over as many as may be outstanding, and the next as soon as one is answered", async (t) => {
    const { stub, core } = await setUp(t, hold, { maxOutstanding: 10 });
    const results = Promise.all(Array.from({ length: 25 }, (_, n) => core.dispatchTask(`t-${n}`, {}, "greet")));
    await waitFor(() => stub.received.length === 10, { describe: "the first ten" });
    for (const n of [7, 0, 3]) stub.finish(`t-${n}`, completed({ n }));
    await waitFor(() => stub.received.length > 10, { describe: "the next" });
    await waitFor(() => stub.received.length === 13, { describe: "three more, and no more" });
    assert.deepEqual(
      stub.received.slice(10).map(({ taskId }) => taskId),
      ["t-10", "t-11", "t-12"],
    );
    stub.play = () => completed({ n: -1 });
    for (const [id, task] of stub.tasks) if (task.outcome === undefined) stub.finish(id, completed({ n: -1 }));
    assert.equal((await results).length, 25);
  });

  test("outlives a Dispatcher that restarts: what is unanswered is handed over again", async (t) => {
    const troubles: LegionError[] = [];
    let recovered = 0;
    const watching: LegionCoreOptions = { onTrouble: (error) => troubles.push(error), onRecovered: () => recovered++ };
    const { stub, core } = await setUp(t, hold, watching);
    const ids = Array.from({ length: 300 }, (_, n) => `t-${n}`);
    const results = Promise.all(ids.map((id) => core.dispatchTask(id, {}, "greet")));
    await waitFor(() => stub.received.length === 300, { describe: "all tasks" });
    for (const id of ids.slice(0, 100)) stub.finish(id, completed({ id }));
    await waitFor(() => stub.tasks.size === 300, { describe: "all tasks" });
    await stub.down();
    // One that ended while nobody listened.
    stub.finish("t-200", completed({ id: "t-200" }));
    await waitFor(() => troubles.length > 1, { describe: "a failed try" });
    await stub.up();
    await waitFor(() => stub.received.length >= 500, { describe: "the unanswered again" });
    for (const id of ids) if (stub.tasks.get(id)?.outcome === undefined) stub.finish(id, completed({ id }));
    assert.deepEqual(
      await results,
      ids.map((id) => ({ id })),
    );
    assert.equal(stub.tasks.size, 300);
    assert.equal(troubles[0]?.code, "UNAVAILABLE");
    assert.match(troubles.at(-1)?.message ?? "", /No Dispatcher answers at 127\.0\.0\.1:\d+ \(connect ECONNREFUSED\)/);
    assert.equal(recovered, 1);
  });

  test("goes on to the next address when one does not answer", async (t) => {
    const stub = await StubDispatcher.start(echo);
    const [dead] = await freePorts(1);
    const core = new LegionCore({ dispatcher: `127.0.0.1:${dead},${stub.target}` });
    t.after(() => Promise.all([core.close(), stub.down()]));
    assert.deepEqual(await core.dispatchTask("", { n: 1 }, "greet"), { n: 1 });
    assert.equal((await core.getMetrics()).totalAgents, 3);
  });

  test("rejects a refused task alone, with what the mesh said", async (t) => {
    const refusals = {
      bad: legionError("TASK_DATA_SCHEMA_MISMATCH", "does not match", {
        violations: [{ field: "/name", description: "is required" }],
      }),
      taken: legionError("TASK_ID_CONFLICT", "is another task"),
      limited: legionError("RATE_LIMITED", "too many", { retryDelayMs: 1_500 }),
    };
    const refuse: StubOptions["refuse"] = ({ taskId }) => refusals[taskId as keyof typeof refusals];
    const { core } = await setUp(t, { ...echo, refuse });
    const dispatch = (id: string) => core.dispatchTask(id, { id }, "greet");
    const [good, bad, taken, limited] = await Promise.allSettled(["good", "bad", "taken", "limited"].map(dispatch));
    assert.deepEqual(good, { status: "fulfilled", value: { id: "good" } });
    const errors = [bad, taken, limited].map((settled): unknown => settled?.status === "rejected" && settled.reason);
    assert.ok(errors.every((error) => error instanceof LegionError));
    const [badError, takenError, limitedError] = errors;
    assert.deepEqual(
      [badError?.code, badError?.reason, badError?.taskId],
      ["INVALID_ARGUMENT", "TASK_DATA_SCHEMA_MISMATCH", "bad"],
    );
    assert.deepEqual(badError?.violations, [{ field: "/name", description: "is required" }]);
    assert.match(badError?.help ?? "", /JSON Schema/);
    assert.deepEqual([takenError?.code, takenError?.message], ["ALREADY_EXISTS", "is another task"]);
    assert.deepEqual([limitedError?.code, limitedError?.retryDelayMs], ["RESOURCE_EXHAUSTED", 1_500]);
  });

  test("tries again what the mesh cannot take for now", async (t) => {
    const away = legionError("DATABASE_UNAVAILABLE", "The database is away.");
    let refusalsLeft = 20;
    const troubles: (string | undefined)[] = [];
    const onTrouble = ({ reason }: LegionError): void => void troubles.push(reason);
    const refuse: StubOptions["refuse"] = () => (refusalsLeft-- > 0 ? away : undefined);
    const { stub, core } = await setUp(t, { ...echo, refuse }, { onTrouble });
    const ids = Array.from({ length: 10 }, (_, n) => `t-${n}`);
    assert.deepEqual(
      await Promise.all(ids.map((id) => core.dispatchTask(id, { id }, "greet"))),
      ids.map((id) => ({ id })),
    );
    assert.equal(stub.received.length, 30);
    assert.deepEqual(troubles, ["DATABASE_UNAVAILABLE", "DATABASE_UNAVAILABLE"]);
  });

  test("rejects with the failure of a task that failed, and with the reason of one that was canceled", async (t) => {
    const canceled = create(OutcomeSchema, { kind: { case: "canceled", value: { reason: "no longer needed" } } });
    const { core } = await setUp(t, {
      play: ({ taskId }) => (taskId === "f" ? failed("ValueError", "bad name", { field: "name" }) : canceled),
    });
    await assert.rejects(core.dispatchTask("f", {}, "greet"), (error) => {
      assert.ok(error instanceof TaskFailedError);
      const { taskId, state, attempt, code, message, retryable, details } = error;
      assert.deepEqual(
        { taskId, state, attempt, code, message, retryable, details },
        {
          taskId: "f",
          state: "FAILED",
          attempt: 0,
          code: "ValueError",
          message: "bad name",
          retryable: false,
          details: { field: "name" },
        },
      );
      return true;
    });
    await assert.rejects(
      core.dispatchTask("c", {}, "greet"),
      (error) => error instanceof TaskCanceledError && error.reason === "no longer needed" && error.taskId === "c",
    );
  });

  test("stops waiting at its time-out or its signal, and gives its place to the next", async (t) => {
    const { stub, core } = await setUp(t, hold, { maxOutstanding: 1 });
    const controller = new AbortController();
    const aborted = core.dispatchTask("a", {}, "greet", { signal: controller.signal });
    const timedOut = core.dispatchTask("b", {}, "greet", { timeoutMs: 5 });
    const last = core.dispatchTask("c", {}, "greet");
    await assert.rejects(timedOut, (error) => error instanceof WaitTimeoutError && error.taskId === "b");
    await waitFor(() => stub.tasks.has("a"), { describe: "the first" });
    controller.abort(new Error("enough"));
    await assert.rejects(aborted, /enough/);
    await waitFor(() => stub.tasks.has("c"), { describe: "the last" });
    stub.finish("c", completed({ c: 1 }));
    assert.deepEqual(await last, { c: 1 });
    assert.deepEqual([...stub.tasks.keys()], ["a", "c"], "one that gave up before its turn was never sent");
    await assert.rejects(core.dispatchTask("d", {}, "greet", { signal: controller.signal }), /enough/);
  });

  test("a time-out says what kept the mesh from answering", async (t) => {
    const [dead] = await freePorts(1);
    const core = new LegionCore({ dispatcher: `127.0.0.1:${dead}` });
    t.after(() => core.close());
    await assert.rejects(core.dispatchTask("a", {}, "greet", { timeoutMs: 500 }), (error) => {
      assert.ok(error instanceof WaitTimeoutError);
      assert.match(error.message, /task a within 500 ms.*No Dispatcher answers at/);
      return true;
    });
  });

  test("fails at once where trying again would not help", async (t) => {
    await using server = new GrpcServer({ host: "127.0.0.1", port: 0, log: { warn() {}, error() {} } });
    const port = await server.mount(DispatcherService, {}).listen();
    const core = new LegionCore({ dispatcher: `127.0.0.1:${port}` });
    t.after(() => core.close());
    const both = await Promise.allSettled(["a", "b"].map((id) => core.dispatchTask(id, {}, "greet")));
    const codes = both.map((settled): unknown => settled.status === "rejected" && settled.reason);
    assert.ok(codes.every((error) => error instanceof LegionError && error.code === "UNIMPLEMENTED"));
  });

  test("refuses what is no JSON object before anything leaves", async (t) => {
    const { stub, core } = await setUp(t, echo);
    await assert.rejects(core.dispatchTask("", [1], "greet"), { reason: "TASK_DATA_NOT_OBJECT" });
    await assert.rejects(core.dispatchTask("", { text: "x".repeat(3e6) }, "greet"), { reason: "TASK_DATA_TOO_LARGE" });
    await core.dispatchTask("t", {}, "greet");
    assert.deepEqual(
      stub.received.map(({ taskId }) => taskId),
      ["t"],
    );
  });

  test("tells progress", async (t) => {
    const { stub, core } = await setUp(t, hold);
    const seen: unknown[] = [];
    const result = core.dispatchTask("t", {}, "greet", {
      onProgress({ fraction, message, output }) {
        seen.push([fraction, message, output]);
        stub.finish("t", completed({ done: true }));
      },
    });
    const output = { contentType: "", data: Buffer.from('{"lines":3}') };
    await waitFor(
      () => {
        if (seen.length === 0) stub.progress("t", { fraction: 0.5, message: "half", output });
        return seen.length > 0;
      },
      { describe: "news" },
    );
    assert.deepEqual(await result, { done: true });
    assert.deepEqual(seen[0], [0.5, "half", { lines: 3 }]);
  });

  test("closing tells whoever waits", async (t) => {
    const { stub, core } = await setUp(t, hold);
    const waits = core.dispatchTask("t", {}, "greet");
    await waitFor(() => stub.tasks.has("t"), { describe: "the task" });
    await core.close();
    await assert.rejects(waits, { code: "CANCELLED", taskId: "t" });
    await assert.rejects(core.dispatchTask("u", {}, "greet"), { code: "CANCELLED" });
    await waitFor(() => stub.openStreams === 0, { describe: "the end of the stream" });
  });

  test("closing does not wait for the outcome that a caller gave up", async (t) => {
    const { stub, core } = await setUp(t, hold);
    await core.dispatchTaskAsync("warm", {}, "greet");
    await assert.rejects(core.dispatchTask("t", {}, "greet", { timeoutMs: 200 }), WaitTimeoutError);
    assert.ok(stub.tasks.has("t"));
    await core.close();
    await waitFor(() => stub.openStreams === 0, { timeoutMs: 5_000, describe: "the end of the stream" });
  });
});

describe("dispatchTaskAsync", () => {
  test("resolves when the task is stored, and its handle does the rest", async (t) => {
    const { stub, core } = await setUp(t, hold);
    const handle = await core.dispatchTaskAsync<{ n: number }>("t", { n: 1 }, "greet");
    assert.deepEqual([handle.taskId, handle.created], ["t", true]);
    assert.deepEqual(stub.received, [{ taskId: "t", omitReceipts: false, omitOutcomes: true }]);
    const status = await handle.status();
    assert.deepEqual(
      [status.state, status.taskData, status.waitingReason],
      ["QUEUED", { n: 1 }, "no agent offers 'greet' yet"],
    );

    const watched: unknown[] = [];
    const watching = (async () => {
      for await (const { state, outcome } of handle.watch()) watched.push([state, outcome]);
    })();
    await waitFor(() => watched.length === 1, { describe: "the state now" });
    stub.lease("t", "greeter-1");
    stub.finish("t", completed({ n: 2 }));
    await watching;
    assert.deepEqual(watched, [
      ["QUEUED", undefined],
      ["LEASED", undefined],
      ["COMPLETED", { result: { n: 2 } }],
    ]);

    assert.deepEqual([await handle.result(), await handle.result()], [{ n: 2 }, { n: 2 }]);
    assert.equal(await handle.cancel(), "COMPLETED");
    assert.equal((await core.dispatchTaskAsync("t", { n: 1 }, "greet")).created, false);
  });

  test("is refused as a dispatch is", async (t) => {
    const { core } = await setUp(t, { refuse: () => legionError("TASK_ID_CONFLICT", "is another task") });
    await assert.rejects(core.dispatchTaskAsync("t", {}, "greet"), { reason: "TASK_ID_CONFLICT" });
  });

  test("cancels with a reason; who waits is told it", async (t) => {
    const { core } = await setUp(t, hold);
    const handle = await core.dispatchTaskAsync(undefined, {}, "greet");
    const result = handle.result();
    const told = assert.rejects(result, (error) => error instanceof TaskCanceledError && error.reason === "too late");
    assert.equal(await handle.cancel("too late"), "CANCELED");
    await told;
  });

  test("watching goes on through a restart", async (t) => {
    const { stub, core } = await setUp(t, hold);
    const handle = await core.dispatchTaskAsync("t", {}, "greet");
    const states: string[] = [];
    const watching = (async () => {
      for await (const { state } of handle.watch()) states.push(state);
    })();
    await waitFor(() => states.length === 1, { describe: "the state now" });
    await stub.down();
    await stub.up();
    await waitFor(() => states.length === 2, { describe: "the state once more" });
    stub.finish("t", completed({}));
    await watching;
    assert.deepEqual(states, ["QUEUED", "QUEUED", "COMPLETED"]);
  });
});

describe("what the mesh says of itself", () => {
  test("metrics, health, and tasks by page", async (t) => {
    const { core } = await setUp(t, echo);
    for (const id of ["a", "b", "c"]) await core.dispatchTask(id, {}, "greet");
    const metrics = await core.getMetrics();
    assert.deepEqual(
      [metrics.totalAgents, metrics.activeAgents, metrics.tasksSubmitted, metrics.tasksFailed],
      [3, 2, 3, 1],
    );
    assert.deepEqual(await core.healthCheck(), {
      ...{ status: "healthy", agents: 2, database: "connected", uptime: 90.5, services: [] },
    });
    const page = await core.listTasks({ states: ["COMPLETED"], pageSize: 2 });
    assert.deepEqual(
      page.tasks.map(({ taskId, state }) => [taskId, state]),
      [
        ["c", "COMPLETED"],
        ["b", "COMPLETED"],
      ],
    );
    assert.equal(page.nextPageToken, "more");
    await assert.rejects(core.getTask("x"), { code: "NOT_FOUND", reason: "TASK_NOT_FOUND" });
  });

  test("a health check of a mesh that is away says so at once; other calls try on", async (t) => {
    const { stub, core } = await setUp(t, echo);
    await core.dispatchTask("a", {}, "greet");
    await stub.down();
    await assert.rejects(core.healthCheck(), { code: "UNAVAILABLE" });
    const task = core.getTask("a");
    await stub.up();
    assert.equal((await task).state, "COMPLETED");
  });
});

describe("addresses", () => {
  test("an address that is none is named", () => {
    assert.throws(() => new LegionCore({ dispatcher: "localhost" }), /dispatcher=localhost .*expected host:port/);
  });
});
