import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AgentState } from "#libs/proto/legion/registry/v1/agent_pb.ts";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import type { RunningRegistry } from "../../services/registry/service.ts";
import { freePorts } from "../harness/free-ports.ts";
import { MeshProcess } from "../harness/mesh-process.ts";
import { testDatabase } from "../harness/postgres.ts";
import { FakeDispatcher } from "./harness/fake-dispatcher.ts";
import { migrateRegistry, registryEnv, startTestRegistry } from "./harness/registry-under-test.ts";
import { TestAgent } from "./harness/test-agent.ts";

const stack = new AsyncDisposableStack();
let database: string;
let dispatcher: FakeDispatcher;

before(async () => {
  database = stack.use(await testDatabase()).connectionString;
  await migrateRegistry(database);
  dispatcher = stack.use(await FakeDispatcher.start());
});
after(() => stack.disposeAsync());

const ids = (refs: readonly { taskId: string }[]): string[] => refs.map(({ taskId }) => taskId).toSorted();

async function twoReplicas(): Promise<AsyncDisposable & { readonly a: RunningRegistry; readonly b: RunningRegistry }> {
  await using both = new AsyncDisposableStack();
  const [a, b] = await Promise.all([
    startTestRegistry(database, [dispatcher]),
    startTestRegistry(database, [dispatcher]),
  ]);
  both.use(a);
  both.use(b);
  const moved = both.move();
  return { a, b, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

function clientOf(port: number) {
  const channel = new GrpcChannel(`127.0.0.1:${port}`);
  return Object.assign(createClient(RegistryService, channel), { [Symbol.dispose]: () => channel.close() });
}

test("a newer session at another replica ends the older one, whose Registry tells what had begun", async () => {
  await using replicas = await twoReplicas();
  using older = await TestAgent.connect(replicas.a.grpcPort, { agentId: "fenced", slots: 2, resumable: true });
  await dispatcher.attached(older.sessionId);
  dispatcher.assign(older.sessionId, "begun");
  await older.assigned("begun");
  older.complete("another's");
  await older.until("the rejection", () => older.frames.some(({ rejections }) => rejections.length > 0));
  using newer = await TestAgent.connect(replicas.b.grpcPort, { agentId: "fenced" });
  assert.equal(await older.end(), "SESSION_FENCED");
  const end = await dispatcher.ended(older.sessionId);
  assert.equal(end.receivedUnknown, false, "from the one who knows");
  assert.deepEqual(ids(end.received), ["begun"]);
  assert.equal(newer.closed, false);
});

test("a session moves to another replica with its agent, and is not ended", async () => {
  await using replicas = await twoReplicas();
  using agent = await TestAgent.connect(replicas.a.grpcPort, { agentId: "moves", slots: 2, resumable: true });
  await dispatcher.attached(agent.sessionId);
  dispatcher.assign(agent.sessionId, "running");
  await agent.assigned("running");
  const { sessionId } = agent;
  const inFlight = [{ taskId: "running", attempt: 1 }];
  const hello = { agentId: "moves", slots: 2, resumable: true, sessionId, inFlight };
  const attaches = dispatcher.attaches.length;
  using again = await TestAgent.connect(replicas.b.grpcPort, hello);
  assert.equal((await again.welcome()).resumed, true);
  assert.equal(await agent.end(), "SESSION_FENCED", "the old stream is closed");
  const attach = await dispatcher.until("the attach", () => dispatcher.attaches[attaches]);
  assert.deepEqual(ids(attach.inFlight), ["running"]);
  again.complete("running");
  await again.whenAcknowledged(again.lastSeq);
  assert.equal(
    dispatcher.ends.some((end) => end.sessionId === sessionId),
    false,
  );
});

test("an agent is drained through whichever replica; it stays so until its session ends", async () => {
  await using replicas = await twoReplicas();
  using client = clientOf(replicas.b.grpcPort);
  using agent = await TestAgent.connect(replicas.a.grpcPort, { agentId: "drained", slots: 2, resumable: true });
  const attached = await dispatcher.attached(agent.sessionId);
  const { agent: seen } = await client.drainAgent({ agentId: "drained", reason: "maintenance" });
  assert.equal(seen?.state, AgentState.DRAINING);
  const { drain } = await agent.until("the drain", () => agent.frames.find((frame) => frame.drain));
  assert.deepEqual([drain?.reason, drain?.reconnect], ["maintenance", false]);
  await dispatcher.until("no slots", () => attached.updates.some(({ slots }) => slots === 0));

  const { sessionId } = agent;
  using again = await TestAgent.connect(replicas.b.grpcPort, { agentId: "drained", resumable: true, sessionId });
  await again.until("the drain again", () => again.frames.find((frame) => frame.drain?.reason === "maintenance"));
  again.stream.end();
  await dispatcher.ended(sessionId);
  await again.end();
});

test("a weight set at one replica holds at all", async () => {
  await using replicas = await twoReplicas();
  using client = clientOf(replicas.a.grpcPort);
  using one = await TestAgent.connect(replicas.a.grpcPort, { agentId: "w1", name: "weighed", version: "2" });
  using two = await TestAgent.connect(replicas.b.grpcPort, { agentId: "w2", name: "weighed", version: "2" });
  using other = await TestAgent.connect(replicas.b.grpcPort, { agentId: "w3", name: "weighed", version: "1" });
  const [first, second, third] = await Promise.all(
    [one, two, other].map(({ sessionId }) => dispatcher.attached(sessionId)),
  );
  const { version } = await client.setVersionWeight({ name: "weighed", version: "2", weight: 0 });
  assert.deepEqual([version?.weight, version?.sessions], [0, 2]);
  for (const attached of [first, second]) {
    await dispatcher.until("its weight", () =>
      attached?.updates.some(({ weight, slots }) => weight === 0 && slots === 1),
    );
  }
  using late = await TestAgent.connect(replicas.b.grpcPort, { agentId: "w4", name: "weighed", version: "2" });
  assert.equal((await dispatcher.attached(late.sessionId)).attach.weight, 0);
  assert.deepEqual(third?.updates, []);
});

test("a Registry that goes away asks its agents to go on elsewhere, and lets them", async () => {
  const going = await startTestRegistry(database, [dispatcher]);
  await using staying = await startTestRegistry(database, [dispatcher]);
  using agent = await TestAgent.connect(going.grpcPort, { agentId: "guest", resumable: true });
  using plain = await TestAgent.connect(going.grpcPort, { agentId: "plain" });
  await dispatcher.attached(agent.sessionId);
  await dispatcher.attached(plain.sessionId);
  dispatcher.assign(agent.sessionId, "through");
  dispatcher.assign(plain.sessionId, "rescued");
  await agent.assigned("through");
  await plain.assigned("rescued");
  plain.send({ heartbeat: {} });
  const gone = going[Symbol.asyncDispose]();
  const { drain } = await agent.until("the drain", () => agent.frames.find((frame) => frame.drain));
  assert.equal(drain?.reconnect, true);
  assert.deepEqual(await Promise.all([agent.end(), plain.end()]), ["SHUTTING_DOWN", "SHUTTING_DOWN"]);
  assert.deepEqual(ids((await dispatcher.ended(plain.sessionId)).received), ["rescued"]);
  await gone;
  const { sessionId } = agent;
  const inFlight = [{ taskId: "through", attempt: 1 }];
  using again = await TestAgent.connect(staying.grpcPort, { agentId: "guest", resumable: true, sessionId, inFlight });
  assert.equal((await again.welcome()).resumed, true);
  again.complete("through");
  await again.whenAcknowledged(again.lastSeq);
  assert.equal(
    dispatcher.ends.some((end) => end.sessionId === sessionId),
    false,
  );
});

test("after kill -9 sessions go on; the work of an agent that begins anew is given back; those that stay away are ended", async () => {
  const [grpcPort = 0, httpPort = 0] = await freePorts(2);
  const ports = { GRPC_PORT: String(grpcPort), HTTP_PORT: String(httpPort) };
  const env = { ...process.env, ...registryEnv(database, [dispatcher], ports) };
  const main = new URL("../../services/registry/main.ts", import.meta.url).pathname;
  const registry = new MeshProcess({ name: "registry", main, env, grpcPort, httpPort });
  try {
    await registry.start();
    const hello = { slots: 2, resumable: true };
    using resumes = await TestAgent.connect(grpcPort, { agentId: "resumes", ...hello });
    using restarts = await TestAgent.connect(grpcPort, { agentId: "restarts", ...hello });
    using leaves = await TestAgent.connect(grpcPort, { agentId: "leaves", ...hello });
    for (const agent of [resumes, restarts, leaves]) {
      await dispatcher.attached(agent.sessionId);
      dispatcher.assign(agent.sessionId, `of-${agent.sessionId}`);
      await agent.assigned(`of-${agent.sessionId}`);
    }
    await registry.kill();
    await Promise.all([resumes, restarts, leaves].map((agent) => agent.end()));
    await registry.start();

    const inFlight = [{ taskId: `of-${resumes.sessionId}`, attempt: 1 }];
    const { sessionId } = resumes;
    const attaches = dispatcher.attaches.length;
    using resumed = await TestAgent.connect(grpcPort, { agentId: "resumes", ...hello, sessionId, inFlight });
    assert.equal((await resumed.welcome()).resumed, true);
    const attach = await dispatcher.until("the attach", () => dispatcher.attaches[attaches]);
    assert.deepEqual(ids(attach.inFlight), ids(inFlight));
    resumed.complete(`of-${sessionId}`);
    await resumed.whenAcknowledged(resumed.lastSeq);

    using fresh = await TestAgent.connect(grpcPort, { agentId: "restarts", ...hello });
    assert.equal((await fresh.welcome()).resumed, false);
    assert.equal((await dispatcher.ended(restarts.sessionId)).receivedUnknown, true);
    assert.equal((await dispatcher.ended(leaves.sessionId)).receivedUnknown, true);
    assert.equal(resumed.closed, false);
  } finally {
    await registry.stop();
  }
});
