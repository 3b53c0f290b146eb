import assert from "node:assert/strict";
import { test } from "node:test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { TaskState, WhenLimited } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { tokens } from "../ratelimit/running.ts";
import { waitFor } from "../harness/wait-for.ts";
import { completed, createWorld, failed, whenState, type RunningDispatcher, type World } from "./harness.ts";
import { assertNothingHeld, concurrency, Held, perUser, query, setLimits } from "./gates-world.ts";

const wait = WhenLimited.WAIT;

async function park(
  { client }: RunningDispatcher,
  ids: readonly string[],
  task: { capability: string; user?: string; priority?: number },
): Promise<void> {
  for (let start = 0; start < ids.length; start += 1_000) {
    const tasks = ids.slice(start, start + 1_000).map((taskId) => ({ taskId, whenLimited: wait, ...task }));
    const { results } = await client.submitTasks({ tasks });
    assert.deepEqual(
      results.filter(({ kind }) => kind.case !== "accepted").map(({ kind }) => kind.value),
      [],
    );
  }
}

const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}-${i}`);

/** What is admitted of a bucket, without taking anything. */
async function remaining(world: World, capability: string, unit = ""): Promise<bigint> {
  const acquisition = { capability, costs: [{ unit, amount: 1n }] };
  const { states } = await world.rateLimit.client.peek({ acquisition });
  return states[0]!.remaining;
}

test("tasks over a rate limit wait in order wherever they come in; others pass; refusals name the wait", async () => {
  await using world = await createWorld();
  const [a, b] = await Promise.all([world.dispatcher(), world.dispatcher()]);
  const limits = [{ name: "slow", capability: "slow", per: [perUser], kind: tokens(1, 60, 1) }];
  await setLimits(world, [a, b], limits);
  const held = new Held();
  await using _atA = await held.attach(a, ["slow", "free"]);
  // One by one, now here and now there: what was accepted later must not come before.
  for (const [i, taskId] of names("w", 16).entries()) {
    await park([a, b][i % 2]!, [taskId], { capability: "slow", user: "ada" });
  }
  const { task } = await b.client.getTask({ taskId: "w-15" });
  assert.match(
    task?.waitingReason ?? "",
    /^the limit 'slow' for 'ada' is reached; next in \d\.\d s; \d+ tasks are before it$/,
  );
  assert.equal(task?.state, TaskState.QUEUED);
  await park(a, ["urgent"], { capability: "slow", user: "ada", priority: 1 });
  await park(b, ["bob"], { capability: "slow", user: "bob" });
  await park(b, ["free"], { capability: "free", user: "ada" });
  assert.equal((await a.client.cancelTask({ taskId: "w-14" })).state, TaskState.CANCELED);
  await waitFor(() => held.order.length === 18, { describe: () => `18 tasks, not ${held.order.length}` });
  const order = held.order.filter((taskId) => taskId.startsWith("w"));
  assert.deepEqual(order, [...names("w", 14), "w-15"]);
  const place = (taskId: string) => held.order.indexOf(taskId);
  assert.ok(place("urgent") < place("w-13"), "a higher priority goes first");
  assert.ok(place("bob") < place("w-15") && place("free") < place("w-15"), "others are not held up");
  while (held.size > 0) await held.answer(completed());
  await assertNothingHeld(world);
});

test("a backlog that is parked survives the kill of its Dispatcher and runs to its end, at the limit's pace", async () => {
  await using world = await createWorld();
  const a = await world.dispatcherProcess();
  await setLimits(world, [a], [{ name: "paced", capability: "paced", kind: tokens(100, 1_000, 20) }]);
  const ids = names("p", 150);
  await park(a, ids, { capability: "paced" });
  const startMs = performance.now();
  await a.process.kill("SIGKILL");
  assert.ok((await query<{ n: number }>(world, "select count(*)::int as n from parked"))[0]!.n > 100);
  await a.process.start();
  const held = new Held();
  await using _registry = await held.attach(a, ["paced"], 1_000);
  const came: number[] = [];
  await waitFor(
    () => {
      while (came.length < held.order.length) came.push(performance.now() - startMs);
      return came.length === ids.length;
    },
    { describe: () => `all to come; ${held.order.length} did`, timeoutMs: 30_000 },
  );
  assert.deepEqual(held.order, ids);
  for (const [i, ms] of came.entries()) {
    assert.ok(i + 1 <= 20 + (ms / 1_000) * 100 + 1, `${i + 1} tasks in ${ms} ms`);
  }
  while (held.size > 0) await held.answer(completed());
  await assertNothingHeld(world);
});

test("an agent that is told to wait pauses the limit for all; what was queued comes back, and goes on by itself", async () => {
  await using world = await createWorld();
  const [a, b] = await Promise.all([world.dispatcher(), world.dispatcher()]);
  await setLimits(world, [a, b], [{ name: "api", capability: "api", kind: tokens(1_000, 1_000, 1_000) }]);
  const held = new Held();
  // One slot: of what is admitted the rest is queued.
  await using _registry = await held.attach(a, ["api"], 1);
  await park(b, names("api", 5), { capability: "api" });
  await waitFor(() => held.names[0] === "api-0#1", { describe: "the first" });
  const pausedMs = performance.now();
  const pause = { retryDelay: { nanos: 900_000_000 } };
  await held.answer(failed({ code: "TOO_MANY_REQUESTS" }), undefined, { pause });
  const waiting = await waitFor(
    async () => {
      const { task } = await b.client.getTask({ taskId: "api-1" });
      return task?.waitingReason.includes("is paused") && task.waitingReason;
    },
    { describe: "the pause" },
  );
  assert.match(waiting, /^the limit 'api' is paused; for 0\.\d s; no task is before it$/);
  await waitFor(
    async () => {
      const error = await b.client.submitTask({ task: { capability: "api" } }).then(
        () => undefined,
        (refusal: Error) => refusal,
      );
      return error?.message.includes("'api'");
    },
    { describe: "others to be refused" },
  );
  // The one whose answer it was is tried again when the pause is over too; each has its turn.
  // A refusal takes up to 300 ms to be known everywhere; what comes in until then is held back too.
  for (const left = new Set(names("api", 5)); left.size > 0;) {
    await waitFor(() => held.size > 0, { describe: "the next" });
    assert.ok(performance.now() - pausedMs >= 880, `${held.names[0]} came after ${performance.now() - pausedMs} ms`);
    left.delete(held.names[0]!.split("#")[0]!);
    await held.answer(completed());
  }
  for (const taskId of names("api", 5)) await whenState(a.client, taskId, TaskState.COMPLETED);
});

test("a pause by hand holds for what waits for slots too, and can be ended by hand", async () => {
  await using world = await createWorld();
  const dispatcher = await world.dispatcher();
  const { client: rateLimit } = world.rateLimit;
  await setLimits(world, [dispatcher], [{ name: "few", capability: "few", kind: concurrency(1) }]);
  const held = new Held();
  await using _registry = await held.attach(dispatcher, ["few"]);
  await park(dispatcher, names("few", 3), { capability: "few" });
  await waitFor(() => held.size === 1, { describe: "the first" });
  await rateLimit.pauseLimit({ limit: "few", duration: { seconds: 60n } });
  await waitFor(
    async () => (await dispatcher.client.getTask({ taskId: "few-1" })).task?.waitingReason.includes("paused"),
    {
      describe: "the pause to hold",
    },
  );
  await held.answer(completed());
  await whenState(dispatcher.client, "few-0", TaskState.COMPLETED);
  assert.equal(held.size, 0);
  await rateLimit.pauseLimit({ limit: "few", duration: {} });
  await waitFor(() => held.size === 1, { describe: "the second" });
});

test("what attempts really cost is settled once each, also when the arbiter was away and the Dispatcher was killed", async () => {
  await using world = await createWorld();
  const dispatcher = await world.dispatcherProcess();
  const { client } = dispatcher;
  const kind = tokens(1, 86_400_000, 1_000);
  await setLimits(world, [dispatcher], [{ name: "llm", capability: "llm", unit: "llm_tokens", kind }]);
  const held = new Held();
  await using _registry = await held.attach(dispatcher, ["llm"]);
  const costs = (amount: bigint) => [{ unit: "llm_tokens", amount }];
  const retryPolicy = { initialDelay: { nanos: 1_000_000 } };
  const submit = (taskId: string, amount: bigint, more = {}) =>
    client.submitTask({ task: { taskId, capability: "llm", costs: costs(amount), retryPolicy, ...more } });
  await submit("cheap", 300n);
  assert.equal(await remaining(world, "llm", "llm_tokens"), 700n);
  await waitFor(() => held.size === 1, { describe: "the task" });
  await held.answer(failed(), undefined, { stats: { costs: costs(100n) } });
  await waitFor(async () => (await remaining(world, "llm", "llm_tokens")) === 900n, {
    describe: "200 to be given back",
  });
  // The second attempt costs on top.
  await waitFor(() => held.names[0] === "cheap#2", { describe: "the second attempt" });
  await world.rateLimit.stop();
  await held.answer(completed(), undefined, { stats: { costs: costs(50n) } });
  await whenState(client, "cheap", TaskState.COMPLETED);
  await dispatcher.process.kill("SIGKILL");
  await world.rateLimit.start();
  await dispatcher.process.start();
  const settled = async () => (await remaining(world, "llm", "llm_tokens").catch(() => 0n)) === 850n;
  await waitFor(settled, { describe: "50 to be charged", timeoutMs: 20_000 });
  await setLimits(world, [dispatcher], []);
  // What never began costs nothing.
  await client.submitTask({
    task: { taskId: "never", capability: "llm", costs: costs(400n), runTime: timestampFromMs(Date.now() + 60_000) },
  });
  assert.equal(await remaining(world, "llm", "llm_tokens"), 450n);
  await client.cancelTask({ taskId: "never" });
  await waitFor(settled, { describe: "400 to be given back" });
  await assertNothingHeld(world);
});

test("a task with a time that may wait asks its limits when its time has come", async () => {
  await using world = await createWorld();
  const dispatcher = await world.dispatcher();
  const limits = [{ name: "later", capability: "later", kind: tokens(1, 86_400_000, 1) }];
  await setLimits(world, [dispatcher], limits);
  const held = new Held();
  await using _registry = await held.attach(dispatcher, ["later"]);
  const runTime = timestampFromMs(Date.now() + 700);
  await dispatcher.client.submitTask({ task: { taskId: "t", capability: "later", runTime, whenLimited: wait } });
  assert.equal(await remaining(world, "later"), 1n);
  await park(dispatcher, ["now"], { capability: "later" });
  await waitFor(() => held.names[0] === "now#1", { describe: "the other" });
  const task = await waitFor(
    async () => {
      const answer = await dispatcher.client.getTask({ taskId: "t" });
      return answer.task?.waitingReason.startsWith("the limit 'later' is reached") && answer.task;
    },
    { describe: "it to be parked" },
  );
  assert.equal(task.state, TaskState.QUEUED);
});
