import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { create, createFileRegistry, fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { type Mesh, startMesh } from "../harness/mesh.ts";
import { waitFor } from "../harness/wait-for.ts";

const stack = new AsyncDisposableStack();
let mesh: Mesh;

before(async () => {
  mesh = stack.use(await startMesh({ agents: true }));
});
after(() => stack.disposeAsync());

const asIs = (bytes: Buffer): Buffer => bytes;
const connect = (address: string): Client =>
  stack.adopt(new Client(address, credentials.createInsecure()), (client) => client.close());

/** Calls by bytes alone, with what reflection tells of the contract, as grpcurl does. */
class Reflected {
  readonly #client: Client;
  readonly #files = new Map<string, FileDescriptorProto>();

  constructor(address: string) {
    this.#client = connect(address);
  }

  /** Asks ServerReflectionInfo one question, whose field and answer are strings and bytes. */
  async #ask(field: number, value: string): Promise<{ field: number; bytes: Uint8Array }> {
    const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    const stream = this.#client.makeBidiStreamRequest(path, asIs, asIs);
    stream.write(Buffer.from(new BinaryWriter().tag(field, WireType.LengthDelimited).string(value).finish()));
    stream.end();
    const [answer] = (await stream.toArray()) as Buffer[];
    const found = fieldsOf(answer ?? Buffer.of()).find(({ no }) => no >= 4);
    assert.ok(found, "the reflection answers");
    return { field: found.no, bytes: found.bytes };
  }

  async services(): Promise<string[]> {
    const { bytes } = await this.#ask(7, "");
    return fieldsOf(bytes).map(({ bytes: service }) => Buffer.from(fieldsOf(service)[0]?.bytes ?? []).toString());
  }

  async #load(field: number, name: string): Promise<void> {
    const answer = await this.#ask(field, name);
    assert.equal(answer.field, 4, `there is no ${name}: ${Buffer.from(answer.bytes).toString()}`);
    for (const { bytes } of fieldsOf(answer.bytes)) {
      const file = fromBinary(FileDescriptorProtoSchema, bytes);
      if (this.#files.has(file.name)) continue;
      this.#files.set(file.name, file);
      for (const dependency of file.dependency) if (!this.#files.has(dependency)) await this.#load(3, dependency);
    }
  }

  async method(service: string, name: string) {
    await this.#load(4, service);
    // What an error's details are made of is found in no method's types.
    if (service.startsWith("legion.")) await this.#load(4, "google.rpc.ErrorInfo");
    const file = dependenciesFirst([...this.#files.values()]);
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file }));
    const method = registry.getService(service)?.methods.find((candidate) => candidate.name === name);
    assert.ok(method, `${service} has ${name}`);
    const path = `/${service}/${name}`;
    const encode = (json: JsonValue): Buffer => Buffer.from(toBinary(method.input, fromJson(method.input, json)));
    const decode = (bytes: Buffer): any =>
      toJson(method.output, fromBinary(method.output, bytes), { registry, useProtoFieldName: true });
    return {
      unary: (request: JsonValue) =>
        new Promise<any>((resolve, reject) =>
          this.#client.makeUnaryRequest(path, asIs, decode, encode(request), new Metadata(), (error, response) =>
            error === null ? resolve(response) : reject(error),
          ),
        ),
      serverStream: async (request: JsonValue): Promise<any[]> =>
        await this.#client.makeServerStreamRequest(path, asIs, decode, encode(request)).toArray(),
      bidi: () => this.#client.makeBidiStreamRequest(path, encode, decode),
    };
  }
}

function dependenciesFirst(files: FileDescriptorProto[]): FileDescriptorProto[] {
  const sorted = new Set<FileDescriptorProto>();
  const visit = (file: FileDescriptorProto): void => {
    for (const name of file.dependency) visit(files.find((other) => other.name === name)!);
    sorted.add(file);
  };
  files.forEach(visit);
  return [...sorted];
}

/** The fields of a message that are strings, bytes or messages. */
function fieldsOf(message: Uint8Array): { no: number; bytes: Uint8Array }[] {
  const reader = new BinaryReader(message);
  const fields: { no: number; bytes: Uint8Array }[] = [];
  while (reader.pos < reader.len) {
    const [no, wireType] = reader.tag();
    if (wireType === WireType.LengthDelimited) fields.push({ no, bytes: reader.bytes() });
    else reader.skip(wireType, no);
  }
  return fields;
}

const dispatcherService = "legion.dispatcher.v1.DispatcherService";
const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64");
const parsed = (base64Text: string): any => JSON.parse(Buffer.from(base64Text, "base64").toString());

test("each service tells its contract and its health to whoever asks", async () => {
  const expected = {
    registry: "legion.registry.v1.RegistryService",
    dispatcher: dispatcherService,
    ratelimit: "legion.ratelimit.v1.RateLimitService",
    watchdog: "legion.watchdog.v1.WatchdogService",
  };
  for (const [name, service] of Object.entries(expected)) {
    const reflected = new Reflected(mesh.process(name).address);
    const services = await reflected.services();
    assert.ok(services.includes(service) && services.includes("grpc.health.v1.Health"), services.join());
    const check = await reflected.method("grpc.health.v1.Health", "Check");
    // Looked at once a second.
    for (const request of [{ service }, {}]) {
      const serving = async () => (await check.unary(request)).status === "SERVING";
      await waitFor(serving, { describe: `${name} to be serving, asked with ${JSON.stringify(request)}` });
    }
  }
});

test("a client of bytes alone runs, streams, watches, and is told what is wrong", async () => {
  const reflected = new Reflected(mesh.dispatcher.address);
  const method = (name: string) => reflected.method(dispatcherService, name);
  const task = { task_id: "raw-1", capability: "greet", task_data: { data: base64({ name: "Ada" }) } };
  const { task: done } = await (await method("RunTask")).unary({ task });
  assert.equal(done.state, "TASK_STATE_COMPLETED");
  assert.deepEqual(parsed(done.outcome.completed.result.data), { greeting: "Hello, Ada!" });
  assert.match(done.traceparent, /^00-[\da-f]{32}-[\da-f]{16}-01$/);

  const events = await (await method("WatchTask")).serverStream({ task_id: "raw-1" });
  assert.deepEqual(
    events.map(({ event }) => event.state),
    ["TASK_STATE_COMPLETED"],
  );

  const stream = (await method("SubmitStream")).bidi();
  const tasks = [1, 2, 3].map((ref) => ({
    ref: String(ref),
    task: { capability: ref === 3 ? "" : "greet", task_data: { data: base64({ name: `n${ref}` }) } },
  }));
  stream.write({ tasks });
  stream.end();
  const frames: any[] = await stream.toArray();
  const results = frames.flatMap((frame) => frame.results ?? []);
  assert.deepEqual(results.map(({ ref, accepted }) => `${ref} ${accepted !== undefined}`).toSorted(), [
    "1 true",
    "2 true",
    "3 false",
  ]);
  const outcomes = frames.flatMap((frame) => frame.outcomes ?? []);
  assert.deepEqual(outcomes.map(({ outcome }) => String(parsed(outcome.completed.result.data).greeting)).toSorted(), [
    "Hello, n1!",
    "Hello, n2!",
  ]);

  await assert.rejects((await method("GetTask")).unary({ task_id: "nowhere" }), (error: ServiceError) => {
    assert.equal(error.code, status.NOT_FOUND);
    const [details] = error.metadata.get("grpc-status-details-bin");
    assert.match(String(details), /TASK_NOT_FOUND/);
    return true;
  });
});

test("an agent of bytes alone is hello, heartbeats, and a loop that answers", async () => {
  const reflected = new Reflected(mesh.registry.address);
  const stream = (await reflected.method("legion.registry.v1.RegistryService", "Connect")).bidi();
  const { promise: welcomed, resolve: welcome } = Promise.withResolvers<any>();
  stream.on("data", (frame: any) => {
    if (frame.welcome) welcome(frame.welcome);
    if (frame.heartbeat) stream.write({ ack: frame.seq, heartbeat: {} });
    for (const { task_id, attempt, task_data } of frame.assignments ?? []) {
      const data = base64({ echo: parsed(task_data.data) });
      stream.write({ ack: frame.seq, outcomes: [{ task_id, attempt, outcome: { completed: { result: { data } } } }] });
    }
  });
  stream.on("error", () => {});
  stream.write({ hello: { agent_id: "raw", capabilities: [{ name: "echo" }] } });
  const { session_id, heartbeat_interval } = await welcomed;
  assert.match(session_id, /^[\da-f-]{36}$/);
  assert.equal(heartbeat_interval, "3s");

  const dispatcher = new Reflected(mesh.dispatcher.address);
  const run = await dispatcher.method(dispatcherService, "RunTask");
  const { task } = await run.unary({ task: { capability: "echo", task_data: { data: base64({ a: 1 }) } } });
  assert.deepEqual([task.agent_id, parsed(task.outcome.completed.result.data)], ["raw", { echo: { a: 1 } }]);
  stream.end();
});

test("JSON over HTTP does the same, with the same errors", async () => {
  const post = async (method: string, body: unknown) => {
    const response = await fetch(`${mesh.dispatcher.httpAddress}/${dispatcherService}/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as any };
  };
  const taskData = { data: base64({ name: "Ada" }) };
  const run = await post("RunTask", { task: { taskId: "http-1", capability: "greet", taskData } });
  assert.deepEqual([run.status, run.body.task.state], [200, "TASK_STATE_COMPLETED"]);
  assert.deepEqual(parsed(run.body.task.outcome.completed.result.data), { greeting: "Hello, Ada!" });

  const bulk = await post("SubmitTasks", { tasks: [{ capability: "greet", taskData }, { capability: "no spaces" }] });
  assert.deepEqual([bulk.status, bulk.body.results?.length], [200, 2], JSON.stringify(bulk.body));
  assert.ok(bulk.body.results[0].accepted.taskId);
  const { error } = bulk.body.results[1];
  assert.deepEqual([error.code, error.details[0].reason], [status.INVALID_ARGUMENT, "INVALID_REQUEST"]);

  const wrong = await post("SubmitTask", { task: { capability: "greet", taskData: { data: base64([1]) } } });
  assert.deepEqual([wrong.status, wrong.body.code], [400, "invalid_argument"]);
  assert.equal(wrong.body.details[0].debug.reason, "TASK_DATA_NOT_OBJECT");
  const missing = await post("GetTask", { taskId: "nowhere" });
  assert.deepEqual([missing.status, missing.body.code], [404, "not_found"]);
});
