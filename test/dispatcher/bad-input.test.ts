import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code, type ConnectError } from "@connectrpc/connect";
import { DispatcherService } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { LinkService } from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import { errorReason, errorViolations } from "#libs/rpc/errors.ts";
import { openStream } from "#libs/rpc/grpc-client.ts";
import {
  completed,
  createWorld,
  json,
  SubmitStream,
  type RunningDispatcher,
  type Spec,
  type World,
} from "./harness.ts";

let world: World;
let dispatcher: RunningDispatcher;

before(async () => {
  world = await createWorld();
  dispatcher = await world.dispatcher();
  const registry = await world.registry(dispatcher);
  const session = await registry.attach({ capabilities: [{ name: "echo" }] });
  session.work = () => completed();
});
after(() => world[Symbol.asyncDispose]());

const data = (text: string | Uint8Array) => ({ data: typeof text === "string" ? Buffer.from(text) : text });
const label = (key: string, value = "") => ({ key, value });
const much = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item);

interface Bad {
  readonly name: string;
  readonly task: Spec;
  readonly reason: string;
  /** What the violation's field is called, within the task. */
  readonly field?: string;
}

const bad: Bad[] = [
  { name: "no capability", task: {}, reason: "INVALID_REQUEST", field: "capability" },
  { name: "capability with a space", task: { capability: "a b" }, reason: "INVALID_REQUEST", field: "capability" },
  {
    name: "capability too long",
    task: { capability: "x".repeat(129) },
    reason: "INVALID_REQUEST",
    field: "capability",
  },
  {
    name: "namespace in capitals",
    task: { capability: "echo", namespace: "Team" },
    reason: "INVALID_REQUEST",
    field: "namespace",
  },
  {
    name: "namespace too long",
    task: { capability: "echo", namespace: "a".repeat(64) },
    reason: "INVALID_REQUEST",
    field: "namespace",
  },
  {
    name: "id with a line feed",
    task: { capability: "echo", taskId: "a\nb" },
    reason: "INVALID_REQUEST",
    field: "task_id",
  },
  { name: "id with NUL", task: { capability: "echo", taskId: "a\0" }, reason: "INVALID_REQUEST", field: "task_id" },
  {
    name: "id too long in bytes",
    task: { capability: "echo", taskId: "ü".repeat(129) },
    reason: "INVALID_REQUEST",
    field: "task_id",
  },
  { name: "user with NUL", task: { capability: "echo", user: "\0" }, reason: "INVALID_REQUEST", field: "user" },
  {
    name: "label with NUL",
    task: { capability: "echo", labels: [label("a", "\0")] },
    reason: "INVALID_REQUEST",
    field: "labels[0].value",
  },
  {
    name: "label without a key",
    task: { capability: "echo", labels: [label("")] },
    reason: "INVALID_REQUEST",
    field: "labels[0].key",
  },
  {
    name: "too many labels",
    task: { capability: "echo", labels: much(65, label("a")) },
    reason: "INVALID_REQUEST",
    field: "labels",
  },
  {
    name: "required label with NUL",
    task: { capability: "echo", requiredLabels: [label("a", "\0")] },
    reason: "INVALID_REQUEST",
    field: "required_labels[0].value",
  },
  {
    name: "priority too high",
    task: { capability: "echo", priority: 1_001 },
    reason: "INVALID_REQUEST",
    field: "priority",
  },
  {
    name: "timeout negative",
    task: { capability: "echo", executionTimeout: { seconds: -1n } },
    reason: "INVALID_REQUEST",
    field: "execution_timeout",
  },
  {
    name: "too many attempts",
    task: { capability: "echo", retryPolicy: { maxAttempts: 101 } },
    reason: "INVALID_REQUEST",
    field: "retry_policy.max_attempts",
  },
  {
    name: "retries without end in sight",
    task: { capability: "echo", retryPolicy: { factor: Infinity } },
    reason: "INVALID_REQUEST",
    field: "retry_policy.factor",
  },
  {
    name: "run time no calendar has",
    task: { capability: "echo", runTime: { seconds: 2n ** 62n } },
    reason: "INVALID_REQUEST",
    field: "run_time",
  },
  {
    name: "run time before all calendars",
    task: { capability: "echo", runTime: { seconds: -(2n ** 62n) } },
    reason: "INVALID_REQUEST",
    field: "run_time",
  },
  {
    name: "negative cost",
    task: { capability: "echo", costs: [{ amount: -1n }] },
    reason: "INVALID_REQUEST",
    field: "costs[0].amount",
  },
  {
    name: "unknown when_limited",
    task: { capability: "echo", whenLimited: 77 as never },
    reason: "INVALID_REQUEST",
    field: "when_limited",
  },
  {
    name: "traceparent with NUL",
    task: { capability: "echo", traceparent: "\0" },
    reason: "INVALID_REQUEST",
    field: "traceparent",
  },
  {
    name: "data: an array",
    task: { capability: "echo", taskData: data("[]") },
    reason: "TASK_DATA_NOT_OBJECT",
    field: "task_data",
  },
  {
    name: "data: nothing",
    task: { capability: "echo", taskData: data("") },
    reason: "TASK_DATA_NOT_OBJECT",
    field: "task_data",
  },
  {
    name: "data: garbage",
    task: { capability: "echo", taskData: data(Buffer.from([0x7b, 0xff, 0xfe, 0x7d])) },
    reason: "TASK_DATA_NOT_OBJECT",
    field: "task_data",
  },
  {
    name: "data: another type",
    task: { capability: "echo", taskData: { contentType: "text/csv", data: Buffer.from("{}") } },
    reason: "TASK_DATA_NOT_OBJECT",
    field: "task_data",
  },
  {
    name: "data: 3 MiB",
    task: { capability: "echo", taskData: json({ a: "x".repeat(3 * 1024 * 1024) }) },
    reason: "TASK_DATA_TOO_LARGE",
    field: "task_data",
  },
];

test("each kind of bad task is refused with its reason and field, by unary calls", async () => {
  for (const { name, task, reason, field } of bad) {
    for (const call of [dispatcher.client.submitTask({ task }), dispatcher.client.runTask({ task })]) {
      await assert.rejects(call, (error: ConnectError) => {
        assert.equal(errorReason(error), reason, name);
        assert.equal(error.code, reason === "NOT_SUPPORTED" ? Code.Unimplemented : Code.InvalidArgument, name);
        if (field !== undefined) assert.equal(errorViolations(error)[0]?.field, `task.${field}`, name);
        return true;
      });
    }
  }
  await assert.rejects(dispatcher.client.submitTask({}), { code: Code.InvalidArgument });
});

test("on a stream and in bulk each is refused by itself: good ones around it are accepted, and the stream goes on", async () => {
  const tasks = bad.flatMap(({ task }, index) => [task, { capability: "echo", taskId: `good-${index}` }]);
  const stream = new SubmitStream(dispatcher);
  stream.send(tasks.map((task, index) => ({ ref: BigInt(index), task })));
  stream.send([{ ref: 1_000n }]);
  const results = (await stream.results.take(tasks.length + 1)).toSorted((a, b) => Number(a.ref - b.ref));
  for (const [index, { name, reason }] of bad.entries()) {
    const [refused, accepted] = [results[2 * index]?.kind, results[2 * index + 1]?.kind];
    assert.ok(refused?.case === "error", name);
    const details = refused.value.details.map(
      ({ typeUrl, value }) => `${typeUrl} ${Buffer.from(value).toString("latin1")}`,
    );
    assert.ok(
      details.some((detail) => detail.includes("ErrorInfo") && detail.includes(reason)),
      `${name}: ${details.join()}`,
    );
    assert.equal(accepted?.case, "accepted", `the task after: ${name}`);
  }
  assert.equal(results.at(-1)?.kind.case, "error", "an item without a task");
  await stream.outcomes.take(bad.length);
  stream.end();
  assert.equal(await stream.closed, undefined);

  const bulk = await dispatcher.client.submitTasks({
    tasks: tasks.map((task) => ({ ...task, taskId: task.taskId || "" })),
  });
  const kinds = bulk.results.map(({ kind }) => kind.case);
  assert.deepEqual(
    kinds,
    bad.flatMap(() => ["error", "accepted"]),
  );
});

test("what is at the bounds is taken", async () => {
  const { client } = dispatcher;
  const full = 2 * 1024 * 1024;
  const good: Spec[] = [
    { capability: "echo", taskId: "ü".repeat(128), user: "日本語 ".repeat(16) },
    { capability: "echo", taskId: "👩‍👩‍👧‍👦 e\u0301 \u202e", namespace: "a".repeat(63) },
    { capability: "x".repeat(128), priority: -1_000, labels: much(64, label("k".repeat(63), "v".repeat(255))) },
    // Longer than an index entry may be, and nothing that could be compressed.
    { capability: "echo", requiredLabels: Array.from({ length: 16 }, (_, i) => label(`k${i}`, randomText(255))) },
    { capability: "echo", taskData: data(`{"a":"${"x".repeat(full - 8)}"}`) },
    { capability: "echo", executionTimeout: { seconds: 2_592_000n }, retryPolicy: { maxAttempts: 100, factor: 100 } },
    { capability: "echo", runTime: { seconds: -62_135_596_800n } },
    { capability: "later", runTime: { seconds: 253_402_300_799n } },
    { capability: "echo", taskData: { contentType: "application/json", data: Buffer.from(' {"a":1,"a":2} ') } },
  ];
  for (const task of good) {
    const { taskId } = await client.submitTask({ task });
    const { task: kept } = await client.getTask({ taskId, namespace: task.namespace ?? "" });
    assert.equal(kept?.taskId, taskId);
    if (task.taskId) assert.equal(taskId, task.taskId);
    if (task.taskData?.data) assert.deepEqual(Buffer.from(kept?.taskData?.data ?? []), Buffer.from(task.taskData.data));
  }
});

function randomText(length: number): string {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return Array.from({ length }, () => letters[Math.floor(Math.random() * letters.length)]).join("");
}

test("bad questions are refused with the field", async () => {
  const { client } = dispatcher;
  const refused = (field: string) => (error: ConnectError) => {
    assert.equal(error.code, Code.InvalidArgument);
    assert.equal(errorViolations(error)[0]?.field, field);
    return true;
  };
  await assert.rejects(client.getTask({ taskId: "" }), refused("task_id"));
  await assert.rejects(client.getTask({ taskId: "a\0" }), refused("task_id"));
  await assert.rejects(client.getTask({ taskId: "a", namespace: "É" }), refused("namespace"));
  await assert.rejects(client.cancelTask({ taskId: "a", reason: "\0" }), refused("reason"));
  await assert.rejects(client.listTasks({ pageSize: 1_001 }), refused("page_size"));
  await assert.rejects(client.listTasks({ pageToken: "garbage" }), refused("page_token"));
  await assert.rejects(client.listTasks({ capability: "\0" }), refused("capability"));
  await assert.rejects(client.listTasks({ user: "\0" }), refused("user"));
  await assert.rejects(client.listTasks({ states: [99 as never] }), refused("states[0]"));
  await assert.rejects(client.listTasks({ submittedAfter: { seconds: 2n ** 62n } }), refused("submitted_after"));
  await assert.rejects(client.listTasks({ submittedBefore: { seconds: -(2n ** 62n) } }), refused("submitted_before"));
});

test("over HTTP: JSON with what nobody knows, that is no JSON, or of the wrong type is an answer with a status", async () => {
  const post = async (method: string, body: string) => {
    const url = `${dispatcher.httpUrl}/legion.dispatcher.v1.DispatcherService/${method}`;
    const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
    const text = await response.text();
    return {
      status: response.status,
      body: text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : text,
    };
  };
  const good = await post("RunTask", JSON.stringify({ task: { capability: "echo", taskData: { data: "e30=" } } }));
  assert.equal(good.status, 200);
  assert.equal((good.body as { task: { state: string } }).task.state, "TASK_STATE_COMPLETED");

  const wrong = [
    "",
    "{",
    "[]",
    "null",
    '{"task":3}',
    '{"task":{"capability":3}}',
    '{"task":{"priority":1e99}}',
    '{"task":{"runTime":"soon"}}',
  ];
  for (const body of wrong) {
    const { status, body: answer } = await post("SubmitTask", body);
    assert.equal(status, 400, `${body} → ${JSON.stringify(answer)}`);
  }
  // JSON is written by hand: a name that is misspelt must not be dropped in silence.
  const unknown = await post("SubmitTask", JSON.stringify({ task: { capability: "echo", urgency: 3 } }));
  assert.equal(unknown.status, 400);
  assert.match(JSON.stringify(unknown.body), /urgency/);
  const refused = await post(
    "SubmitTask",
    JSON.stringify({ task: { capability: "echo", taskData: { data: "W10=" } } }),
  );
  assert.equal(refused.status, 400);
  assert.match(JSON.stringify(refused.body), /TASK_DATA_NOT_OBJECT/);
  assert.equal((await post("GetTask", JSON.stringify({ taskId: "never" }))).status, 404);
  assert.equal((await post("NoSuchMethod", "{}")).status, 404);
});

test("garbage on a stream ends that stream with a reason, and nothing else", async () => {
  const other = new SubmitStream(dispatcher);
  for (const method of [DispatcherService.method.submitStream, LinkService.method.link]) {
    const call = dispatcher.channel.raw.makeBidiStreamRequest(
      `/${method.parent.typeName}/${method.name}`,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
    );
    const status = new Promise<number>((resolve) => call.on("status", ({ code }) => resolve(code)));
    call.on("error", () => {});
    call.on("data", () => {});
    call.write(Buffer.from([0xff, 0xff, 0xff, 0x07, 0x01]));
    assert.equal(await status, Code.InvalidArgument, method.name);
  }
  const link = openStream(dispatcher.channel, LinkService.method.link);
  const closed = new Promise<ConnectError | undefined>((resolve) => link.onClose(resolve));
  link.onMessage(() => {});
  link.write({ seq: 1n, attaches: [{ session: 1, sessionId: "s" }] });
  assert.equal(errorReason(await closed), "HELLO_EXPECTED");

  const tooMany = new SubmitStream(dispatcher);
  tooMany.send(much(1_001, { ref: 1n, task: { capability: "echo" } }));
  assert.equal(errorReason(await tooMany.closed), "INVALID_REQUEST");

  other.send([{ ref: 1n, task: { capability: "echo" } }]);
  await other.outcomes.next();
  other.end();
  assert.equal(await other.closed, undefined);
});
