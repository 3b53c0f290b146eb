import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { errorReason, errorViolations } from "#libs/rpc/errors.ts";
import { GrpcChannel } from "#libs/rpc/grpc-client.ts";
import type { RunningRegistry } from "../../services/registry/service.ts";
import { testDatabase } from "../harness/postgres.ts";
import { FakeDispatcher } from "./harness/fake-dispatcher.ts";
import { migrateRegistry, startTestRegistry } from "./harness/registry-under-test.ts";
import { TestAgent } from "./harness/test-agent.ts";

const stack = new AsyncDisposableStack();
let dispatcher: FakeDispatcher;
let registry: RunningRegistry;

before(async () => {
  const { connectionString } = stack.use(await testDatabase());
  await migrateRegistry(connectionString);
  dispatcher = stack.use(await FakeDispatcher.start());
  registry = stack.use(await startTestRegistry(connectionString, [dispatcher]));
});
after(() => stack.disposeAsync());

type Hello = Parameters<TestAgent["hello"]>[0];

const refused: [what: string, hello: Hello, reason: string, field: string][] = [
  ["no agent_id", { agentId: "" }, "INVALID_REQUEST", "hello.agent_id"],
  ["a control character", { agentId: "a\u0000b" }, "INVALID_REQUEST", "hello.agent_id"],
  ["a namespace in capitals", { agentId: "a", namespace: "Prod" }, "INVALID_REQUEST", "hello.namespace"],
  ["no capability", { agentId: "a", capabilities: [] }, "INVALID_REQUEST", "hello.capabilities"],
  [
    "a capability with a blank",
    { agentId: "a", capabilities: [{ name: "a b" }] },
    "INVALID_REQUEST",
    "hello.capabilities[0].name",
  ],
  [
    "a capability twice",
    { agentId: "a", capabilities: [{ name: "x" }, { name: "x" }] },
    "INVALID_REQUEST",
    "hello.capabilities[1].name",
  ],
  ["too many slots", { agentId: "a", slots: 100_001 }, "INVALID_REQUEST", "hello.slots"],
  ["a label without a key", { agentId: "a", labels: [{ key: "" }] }, "INVALID_REQUEST", "hello.labels[0].key"],
  [
    "an attempt 0",
    { agentId: "a", inFlight: [{ taskId: "t", attempt: 0 }] },
    "INVALID_REQUEST",
    "hello.in_flight[0].attempt",
  ],
  [
    "no JSON Schema",
    { agentId: "a", capabilities: [{ name: "x" }, { name: "y", inputSchema: "{" }] },
    "SCHEMA_INVALID",
    "hello.capabilities[1].input_schema",
  ],
  [
    "a remote schema",
    { agentId: "a", capabilities: [{ name: "x", inputSchema: '{"$ref":"http://a/b"}' }] },
    "SCHEMA_REMOTE",
    "hello.capabilities[0].input_schema",
  ],
];

for (const [what, hello, reason, field] of refused) {
  test(`hello with ${what} ends the stream, and says where`, async () => {
    using agent = new TestAgent(registry.grpcPort);
    agent.hello(hello);
    assert.equal(await agent.end(), reason);
    assert.equal(errorViolations(agent.error)[0]?.field, field);
    assert.equal(agent.frames.length, 0);
  });
}

test("the first frame must say hello, and no other may", async () => {
  using silent = new TestAgent(registry.grpcPort);
  silent.send({ heartbeat: {} });
  assert.equal(await silent.end(), "HELLO_EXPECTED");

  using twice = await TestAgent.connect(registry.grpcPort, { agentId: "twice", resumable: true });
  twice.hello({ agentId: "twice" });
  assert.equal(await twice.end(), "HELLO_REPEATED");
  await dispatcher.ended(twice.sessionId);
});

test("a stream on which nothing is said is ended after a lease", async () => {
  using agent = new TestAgent(registry.grpcPort);
  agent.stream.onDrain(() => {});
  assert.equal(await agent.end(), "HELLO_EXPECTED");
});

test("frames that break the protocol end their own stream and harm no other", async () => {
  using witness = await TestAgent.connect(registry.grpcPort, { agentId: "witness" });
  const frames: [frame: Parameters<TestAgent["send"]>[0], reason: string, field: string][] = [
    [{ seq: 7n }, "PROTOCOL_VIOLATION", "seq"],
    [{ ack: 99n }, "PROTOCOL_VIOLATION", "ack"],
    [{ outcomes: Array.from({ length: 1_001 }, () => ({})) }, "INVALID_REQUEST", "outcomes"],
    [{ setSlots: { slots: 100_001 } }, "INVALID_REQUEST", "set_slots.slots"],
  ];
  for (const [frame, reason, field] of frames) {
    using agent = await TestAgent.connect(registry.grpcPort, { agentId: `breaks-${field}` });
    agent.send(frame);
    assert.equal(await agent.end(), reason);
    assert.equal(errorViolations(agent.error)[0]?.field, field);
    await dispatcher.ended(agent.sessionId);
  }
  await dispatcher.attached(witness.sessionId);
  dispatcher.assign(witness.sessionId, "still-there");
  await witness.assigned("still-there");
});

test("bytes that are no frame are answered, before hello and after it", async () => {
  using witness = await TestAgent.connect(registry.grpcPort, { agentId: "witness-2" });
  await using channel = new GrpcChannel(`127.0.0.1:${registry.grpcPort}`);
  const garbage = [
    Buffer.from("ffffffffffffffff", "hex"),
    Buffer.from("not a frame"),
    Buffer.of(0x1a, 0x02, 0x12, 0xff),
  ];
  for (const bytes of garbage) {
    const asIs = (buffer: Buffer) => buffer;
    const path = "/legion.registry.v1.RegistryService/Connect";
    const call = channel.raw.makeBidiStreamRequest(path, asIs, asIs);
    const status = new Promise((resolve) => call.on("error", resolve));
    call.on("data", () => {});
    call.write(bytes);
    assert.equal(errorReason(await status), "INVALID_REQUEST");
  }
  await dispatcher.attached(witness.sessionId);
  dispatcher.assign(witness.sessionId, "after-garbage");
  await witness.assigned("after-garbage");
});
