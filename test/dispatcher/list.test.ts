import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ListTasksRequestSchema } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { completed, createWorld, failed, json, whenState, type RunningDispatcher, type World } from "./harness.ts";

let world: World;
let dispatcher: RunningDispatcher;

before(async () => {
  world = await createWorld();
  dispatcher = await world.dispatcher();
  const session = await (await world.registry(dispatcher)).attach({ capabilities: [{ name: "list" }] });
  const { client } = dispatcher;
  const add = (taskId: string, more: object = {}) =>
    client.submitTask({ task: { taskId, capability: "list", taskData: json({ taskId }), ...more } });
  session.work = ({ taskId }) => {
    if (taskId.startsWith("done")) return completed({ taskId });
    if (taskId.startsWith("failed")) return failed({ retryable: false });
    return taskId.startsWith("dead") ? failed() : undefined;
  };
  for (let i = 0; i < 25; i++) await add(`done-${i}`, { user: i % 2 === 0 ? "ada" : "bob" });
  await add("failed-1");
  await add("dead-1", { retryPolicy: { maxAttempts: 1 } });
  await add("leased-1");
  await add("queued-1", { capability: "nobody" });
  await add("queued-2", { capability: "nobody", user: "ada" });
  await add("scheduled-1", { runTime: { seconds: 253_000_000_000n } });
  await add("canceled-1", { capability: "nobody" });
  await client.cancelTask({ taskId: "canceled-1" });
  await add("elsewhere-1", { namespace: "elsewhere", capability: "nobody" });
  await whenState(client, "done-24", TaskState.COMPLETED);
  await whenState(client, "dead-1", TaskState.DEAD);
});
after(() => world[Symbol.asyncDispose]());

async function list(filter: MessageInitShape<typeof ListTasksRequestSchema> = {}): Promise<string[]> {
  const { tasks, nextPageToken } = await dispatcher.client.listTasks({ pageSize: 1_000, ...filter });
  assert.equal(nextPageToken, "");
  return tasks.map(({ taskId }) => taskId);
}

test("the newest come first, with what each state says, without their data and results", async () => {
  const { tasks } = await dispatcher.client.listTasks({});
  assert.equal(tasks.length, 32);
  assert.deepEqual(
    tasks.slice(0, 3).map(({ taskId }) => taskId),
    ["canceled-1", "scheduled-1", "queued-2"],
  );
  assert.equal(tasks.at(-1)?.taskId, "done-0");
  assert.ok(tasks.every(({ taskData }) => taskData === undefined));
  const byId = new Map(tasks.map((task) => [task.taskId, task]));
  assert.equal(byId.get("queued-1")?.waitingReason, "no agent offers 'nobody' yet");
  assert.match(byId.get("scheduled-1")?.waitingReason ?? "", /run time/);
  assert.equal(byId.get("failed-1")?.outcome?.kind.case, "failed", "failures are told");
  assert.equal(byId.get("leased-1")?.attempt, 1);
});

test("filters hold together", async () => {
  const one = (state: TaskState) => list({ states: [state] });
  assert.equal((await one(TaskState.COMPLETED)).length, 25);
  assert.deepEqual(await one(TaskState.FAILED), ["failed-1"]);
  assert.deepEqual(await one(TaskState.DEAD), ["dead-1"]);
  assert.deepEqual(await one(TaskState.CANCELED), ["canceled-1"]);
  assert.deepEqual(await one(TaskState.LEASED), ["leased-1"]);
  assert.deepEqual(await one(TaskState.SCHEDULED), ["scheduled-1"]);
  assert.deepEqual(await one(TaskState.QUEUED), ["queued-2", "queued-1"]);
  const open = [TaskState.QUEUED, TaskState.LEASED, TaskState.SCHEDULED, TaskState.DEAD];
  assert.deepEqual(await list({ states: open }), ["scheduled-1", "queued-2", "queued-1", "leased-1", "dead-1"]);
  assert.deepEqual(await list({ capability: "nobody", user: "ada" }), ["queued-2"]);
  assert.deepEqual(await list({ capability: "nobody", states: [TaskState.CANCELED] }), ["canceled-1"]);
  assert.deepEqual(await list({ namespace: "elsewhere" }), ["elsewhere-1"]);
  assert.deepEqual(await list({ user: "nobody at all" }), []);
  const { task: middle } = await dispatcher.client.getTask({ taskId: "done-10" });
  const after_ = await list({ submittedAfter: middle!.submitTime! });
  const before_ = await list({ submittedBefore: middle!.submitTime! });
  assert.ok(after_.includes("done-10") && !before_.includes("done-10"));
  assert.equal(after_.length + before_.length, 32);
});

test("pages cover everything once, also when tasks come in between", async () => {
  const whole = await list();
  for (const pageSize of [1, 7, 31, 32]) {
    const paged: string[] = [];
    let pageToken = "";
    do {
      const page = await dispatcher.client.listTasks({ pageSize, pageToken });
      assert.ok(page.tasks.length <= pageSize);
      paged.push(...page.tasks.map(({ taskId }) => taskId));
      pageToken = page.nextPageToken;
      await dispatcher.client.submitTask({ task: { capability: "nobody", namespace: "noise" } });
    } while (pageToken !== "");
    assert.deepEqual(paged, whole);
  }
  const first = await dispatcher.client.listTasks({ pageSize: 10 });
  await dispatcher.client.submitTask({ task: { taskId: "new", capability: "nobody" } });
  const second = await dispatcher.client.listTasks({ pageSize: 1_000, pageToken: first.nextPageToken });
  assert.deepEqual(
    [...first.tasks, ...second.tasks].map(({ taskId }) => taskId),
    whole,
  );
});
