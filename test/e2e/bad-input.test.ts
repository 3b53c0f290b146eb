import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Code } from "@connectrpc/connect";
import { LegionCore, LegionError, type TaskFailedError } from "#libs/client/index.ts";
import { DispatcherService } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { errorReason, errorViolations, toConnectError } from "#libs/rpc/errors.ts";
import { createClient, GrpcChannel, openStream } from "#libs/rpc/grpc-client.ts";
import { memoryLog } from "../agent/harness/logs.ts";
import { type Mesh, serviceNames, startMesh } from "../harness/mesh.ts";
import { TestAgent } from "../registry/harness/test-agent.ts";
import { rawCall } from "../rpc/fixtures/raw-http2.ts";

const mebibyte = 1024 * 1024;
const stack = new AsyncDisposableStack();
let mesh: Mesh;
let core: LegionCore;
let channel: GrpcChannel;
let pids: (number | undefined)[];
let dispatcher: ReturnType<typeof createClient<typeof DispatcherService>>;

before(async () => {
  mesh = stack.use(await startMesh());
  core = stack.use(new LegionCore({ dispatcher: mesh.dispatcher.address, registry: mesh.registry.address }));
  channel = stack.use(new GrpcChannel(mesh.dispatcher.address));
  dispatcher = createClient(DispatcherService, channel);
  await core.registerAgent("echo-1", (data) => data, ["echo"], { log: memoryLog().log });
  pids = serviceNames.map((name) => mesh.process(name).pid);
});
after(() => stack.disposeAsync());

afterEach(async () => {
  // Whatever was said to it, the mesh goes on as if nothing had been.
  assert.deepEqual(await core.dispatchTask(undefined, { still: "here" }, "echo"), { still: "here" });
  const { status, services } = await core.healthCheck();
  assert.equal(status, "healthy", JSON.stringify(services));
  assert.deepEqual(
    serviceNames.map((name) => mesh.process(name).pid),
    pids,
    "no process had to be started again",
  );
  const errors = serviceNames.flatMap((name) =>
    mesh.process(name).records.filter(({ level }) => level === "error" || level === "fatal"),
  );
  assert.deepEqual(errors, [], "what others do wrong is no error of the mesh");
});

const portOf = (address: string): number => Number(address.split(":")[1]);
const data = (value: unknown) => ({ data: Buffer.from(JSON.stringify(value)) });

/** What a call is refused with: gRPC's status and Legion's reason. */
async function refusal(call: Promise<unknown>): Promise<string> {
  const error: unknown = await call.then(
    () => assert.fail("it was accepted"),
    (thrown: unknown) => thrown,
  );
  if (error instanceof LegionError) return `${error.code} ${error.reason}`;
  return `${Code[toConnectError(error).code]} ${errorReason(error)}`;
}

for (const [what, process, path] of [
  ["Registry.Connect", "registry", "/legion.registry.v1.RegistryService/Connect"],
  ["Dispatcher.SubmitStream", "dispatcher", "/legion.dispatcher.v1.DispatcherService/SubmitStream"],
  ["Link", "dispatcher", "/legion.dispatcher.v1.LinkService/Link"],
] as const) {
  test(`garbage to ${what} ends that stream with a status, and no other`, async () => {
    const port = portOf(mesh.process(process).address);
    const send: ((call: ReturnType<typeof rawCall>) => void)[] = [
      // No protobuf at all; a message that is cut; a length that no one may send; unknown flags.
      ({ frame }) => frame(randomBytes(500).fill(0xff, 0, 20)),
      ({ frame }) => frame(Buffer.from([0x1a, 0x7f, 0x01])),
      ({ frame }) => frame(Buffer.from([1]), 0, 2 ** 31),
      ({ frame }) => frame(Buffer.from([1]), 7),
    ];
    for (const [index, garbage] of send.entries()) {
      using call = rawCall(port, path);
      garbage(call);
      const status = await call.status;
      assert.ok(status !== undefined && status !== "0", `garbage ${index} ended with ${String(status)}`);
    }
  });
}

test("an agent that breaks the protocol is told how, and loses its stream alone", async () => {
  const port = portOf(mesh.registry.address);
  const capabilities = [{ name: "unused" }];
  const cases: [reason: string, (agent: TestAgent) => void][] = [
    ["HELLO_REPEATED", (agent) => agent.hello({ agentId: "bad", capabilities })],
    ["PROTOCOL_VIOLATION", (agent) => agent.stream.write({ seq: 99n })],
    ["PROTOCOL_VIOLATION", (agent) => agent.stream.write({ seq: 2n, ack: 99n })],
    ["INVALID_REQUEST", (agent) => agent.send({ setSlots: { slots: 100_001 } })],
    ["INVALID_REQUEST", (agent) => agent.send({ drain: { reason: "x".repeat(2_000) } })],
  ];
  for (const [reason, misbehave] of cases) {
    using agent = await TestAgent.connect(port, { agentId: "bad", capabilities }, { heartbeatMs: 60_000 });
    misbehave(agent);
    assert.equal(await agent.end(), reason);
  }
  const firsts: [reason: string, Parameters<TestAgent["send"]>[0]][] = [
    ["HELLO_EXPECTED", { heartbeat: {} }],
    ["INVALID_REQUEST", { hello: { agentId: "", capabilities } }],
    ["INVALID_REQUEST", { hello: { agentId: "nul\u0000", capabilities } }],
    ["INVALID_REQUEST", { hello: { agentId: "none", capabilities: [] } }],
    ["INVALID_REQUEST", { hello: { agentId: "twice", capabilities: [...capabilities, ...capabilities] } }],
    ["INVALID_REQUEST", { hello: { agentId: "many", capabilities, slots: 4_000_000_000 } }],
    ["SCHEMA_INVALID", { hello: { agentId: "schema", capabilities: [{ name: "x", inputSchema: '{"type":7}' }] } }],
  ];
  for (const [reason, first] of firsts) {
    using agent = new TestAgent(port);
    agent.send(first);
    assert.equal(await agent.end(), reason, JSON.stringify(first));
  }
  // -1 as a signed number on the wire, which is 4,294,967,295 to who reads it unsigned.
  const hello = new BinaryWriter().tag(2, WireType.LengthDelimited).string("negative");
  hello.tag(5, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string("x").join();
  hello.tag(6, WireType.Varint).int32(-1);
  using call = rawCall(port, "/legion.registry.v1.RegistryService/Connect");
  call.frame(new BinaryWriter().tag(3, WireType.LengthDelimited).bytes(hello.finish()).finish());
  assert.equal(await call.status, "3");
});

test("an outcome for what is another's is rejected, and changes nothing", async () => {
  const port = portOf(mesh.registry.address);
  using owner = await TestAgent.connect(port, { agentId: "owner", capabilities: [{ name: "owned" }] });
  using thief = await TestAgent.connect(port, { agentId: "thief", capabilities: [{ name: "stolen" }] });
  const result = core.dispatchTask("mine", {}, "owned");
  await owner.assigned("mine");
  const outcome = { kind: { case: "completed" as const, value: { result: data({ by: "thief" }) } } };
  thief.send({ outcomes: [{ taskId: "mine", attempt: 1, outcome }] });
  thief.send({ outcomes: [{ taskId: "nobody's", attempt: 7, outcome }] });
  const rejected = () => thief.frames.flatMap(({ rejections }) => rejections);
  await thief.until("both rejections", () => rejected().length === 2);
  assert.deepEqual(
    rejected().map(({ taskId, attempt, reason }) => `${taskId} ${attempt} ${reason}`),
    ["mine 1 UNKNOWN_ATTEMPT", "nobody's 7 UNKNOWN_ATTEMPT"],
  );
  owner.complete("mine");
  assert.deepEqual(await result, {});
});

test("input that is too large is refused at every door, and the stream it came on goes on", async () => {
  const large = { text: "x".repeat(3 * mebibyte) };
  const tooLarge = "INVALID_ARGUMENT TASK_DATA_TOO_LARGE";
  assert.equal(await refusal(core.dispatchTask("l-1", large, "echo")), tooLarge, "before it leaves");
  await using careless = new LegionCore({ dispatcher: mesh.dispatcher.address, maxTaskDataBytes: 10 * mebibyte });
  const after_ = careless.dispatchTask("l-3", { n: 1 }, "echo");
  assert.equal(await refusal(careless.dispatchTask("l-2", large, "echo")), tooLarge, "by stream");
  assert.deepEqual(await after_, { n: 1 });
  const task = { taskId: "l-4", capability: "echo", taskData: data(large) };
  assert.equal(await refusal(dispatcher.submitTask({ task })), "InvalidArgument TASK_DATA_TOO_LARGE", "by unary");
  const bulk = await dispatcher.submitTasks({ tasks: [task, { capability: "echo", taskData: data({}) }] });
  assert.deepEqual(
    bulk.results.map(({ kind }) => kind.case),
    ["error", "accepted"],
  );
  const response = await post("SubmitTask", {
    task: { capability: "echo", taskData: { data: task.taskData.data.toString("base64") } },
  });
  assert.deepEqual([response.status, response.reason], [400, "TASK_DATA_TOO_LARGE"], "by HTTP");
  // Larger than any frame may be, which ends the call, for nobody reads it.
  const huge = { capability: "echo", taskData: data({ text: "x".repeat(40 * mebibyte) }) };
  assert.match(await refusal(dispatcher.submitTask({ task: huge })), /^ResourceExhausted/);
});

test("a result that is too large fails its task for good; the agent's session lives on", async () => {
  const port = portOf(mesh.registry.address);
  const tooLarge = (error: TaskFailedError) => {
    assert.deepEqual([error.state, error.code, error.attempt], ["FAILED", "RESULT_TOO_LARGE", 1]);
    return true;
  };
  using agent = await TestAgent.connect(port, { agentId: "talker", capabilities: [{ name: "talk" }] });
  const failed = assert.rejects(core.dispatchTask("talk-1", {}, "talk"), tooLarge);
  await agent.assigned("talk-1");
  const result = data({ text: "x".repeat(10 * mebibyte) });
  agent.send({
    outcomes: [{ taskId: "talk-1", attempt: 1, outcome: { kind: { case: "completed", value: { result } } } }],
  });
  await failed;
  await agent.whenAcknowledged(agent.lastSeq);
  const next = core.dispatchTask("talk-2", {}, "talk");
  await agent.assigned("talk-2");
  agent.complete("talk-2");
  assert.deepEqual(await next, {});
  assert.equal(agent.closed, false);

  const sdk = await core.registerAgent("talker-2", () => ({ text: "x".repeat(10 * mebibyte) }), ["talk-sdk"], {
    log: memoryLog().log,
  });
  const { sessionId } = sdk.getStatus();
  await assert.rejects(core.dispatchTask("talk-3", {}, "talk-sdk"), tooLarge);
  assert.deepEqual([sdk.getStatus().state, sdk.getStatus().sessionId], ["active", sessionId]);
});

test("NULs are refused in names and kept in data", async () => {
  const nul = "a\u0000b";
  for (const task of [
    { taskId: nul, capability: "echo" },
    { capability: nul },
    { capability: "echo", user: nul },
    { capability: "echo", namespace: nul },
    { capability: "echo", labels: [{ key: "k", value: nul }] },
    { capability: "echo", tracestate: nul },
  ]) {
    const error: unknown = await dispatcher.submitTask({ task }).catch((thrown: unknown) => thrown);
    assert.equal(errorReason(error), "INVALID_REQUEST", JSON.stringify(task));
    assert.equal(errorViolations(error).length, 1);
  }
  for (const call of [
    dispatcher.getTask({ taskId: nul }),
    dispatcher.cancelTask({ taskId: "x", reason: nul }),
    dispatcher.listTasks({ capability: nul }),
  ]) {
    assert.equal(await refusal(call), "InvalidArgument INVALID_REQUEST");
  }
  assert.deepEqual(await core.dispatchTask("nul-1", { [nul]: nul, half: "\ud800" }, "echo"), {
    [nul]: nul,
    half: "\ud800",
  });
  await core.registerAgent("nul-agent", () => Promise.reject(new Error(`it said ${nul}`)), ["nul"], {
    log: memoryLog().log,
  });
  await assert.rejects(
    core.dispatchTask("nul-2", {}, "nul", { retryPolicy: { maxAttempts: 1 } }),
    (error: TaskFailedError) => error.message === `it said ${nul}`,
  );
});

test("what is no JSON object is refused, and so is a field that nobody knows in JSON; on the wire it is for the future", async () => {
  for (const bytes of ["[1]", '"text"', "null", "", " ", "{", '{"a":1}{', '{"a":\xff}', "\ufeff{}"].map((text) =>
    Buffer.from(text, "latin1"),
  )) {
    const call = dispatcher.submitTask({ task: { capability: "echo", taskData: { data: bytes } } });
    assert.equal(await refusal(call), "InvalidArgument TASK_DATA_NOT_OBJECT", bytes.toString());
  }
  const misspelt = await post("SubmitTask", { task: { capability: "echo", prioritty: 1 } });
  assert.deepEqual([misspelt.status, misspelt.reason], [400, "INVALID_REQUEST"]);
  const garbage = await fetch(`${mesh.dispatcher.httpAddress}/${DispatcherService.typeName}/SubmitTask`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{nonsense",
  });
  assert.equal(garbage.status, 400);

  const task = new BinaryWriter().tag(3, WireType.LengthDelimited).string("echo");
  task.tag(999, WireType.LengthDelimited).string("from a newer client");
  using call = rawCall(portOf(mesh.dispatcher.address), `/${DispatcherService.typeName}/SubmitTask`);
  call.frame(new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(task.finish()).finish());
  call.call.end();
  assert.equal(await call.status, "0");
});

test("an invalid task on a stream is refused by itself", async () => {
  const stream = openStream(channel, DispatcherService.method.submitStream);
  const answers = new Map<number, string | undefined>();
  const { promise: done, resolve } = Promise.withResolvers<Error | undefined>();
  stream.onMessage(({ results, outcomes }) => {
    for (const { ref, kind } of results) answers.set(Number(ref), kind.case);
    for (const { ref } of outcomes) answers.set(Number(ref), "outcome");
  });
  stream.onClose(resolve);
  stream.write({
    tasks: [
      { ref: 1n, task: { capability: "echo", taskData: data({}) } },
      { ref: 2n },
      { ref: 3n, task: { capability: "not a name" } },
      { ref: 4n, task: { capability: "echo", priority: 100_000 } },
      { ref: 5n, task: { capability: "echo", executionTimeout: { seconds: -1n, nanos: 0 } } },
      { ref: 6n, task: { capability: "echo", runTime: { seconds: 10n ** 15n, nanos: 0 } } },
      { ref: 7n, task: { capability: "echo", taskData: data({}) } },
    ],
  });
  stream.end();
  assert.equal(await done, undefined);
  assert.deepEqual(
    [...answers].toSorted(([a], [b]) => a - b).map(([ref, answer]) => `${ref} ${answer}`),
    ["1 outcome", "2 error", "3 error", "4 error", "5 error", "6 error", "7 outcome"],
  );
  const tooMany = openStream(channel, DispatcherService.method.submitStream);
  const ended = new Promise<Error | undefined>((resolve_) => tooMany.onClose(resolve_));
  tooMany.write({ tasks: Array.from({ length: 1_001 }, () => ({ task: { capability: "echo" } })) });
  assert.equal(errorReason(await ended), "INVALID_REQUEST");
});

async function post(method: string, body: unknown): Promise<{ status: number; reason: string | undefined }> {
  const response = await fetch(`${mesh.dispatcher.httpAddress}/${DispatcherService.typeName}/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = (await response.json()) as { details?: { debug?: { reason?: string } }[] };
  return { status: response.status, reason: answer.details?.[0]?.debug?.reason };
}
