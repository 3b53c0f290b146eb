import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { errorReason } from "#libs/rpc/errors.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { testDatabase } from "../harness/postgres.ts";
import { FakeDispatcher } from "./harness/fake-dispatcher.ts";
import { migrateRegistry, startTestRegistry } from "./harness/registry-under-test.ts";
import { TestAgent } from "./harness/test-agent.ts";

const stack = new AsyncDisposableStack();
let port: number;
let client: ReturnType<typeof createClient<typeof RegistryService>>;
let dispatcher: FakeDispatcher;

before(async () => {
  const database = stack.use(await testDatabase()).connectionString;
  await migrateRegistry(database);
  dispatcher = stack.use(await FakeDispatcher.start());
  port = stack.use(await startTestRegistry(database, [dispatcher])).grpcPort;
  client = createClient(RegistryService, stack.use(new GrpcChannel(`127.0.0.1:${port}`)));
});
after(() => stack.disposeAsync());

const connect = async (name: string, version: string, agentId: string) =>
  stack.use(await TestAgent.connect(port, { agentId, name, version }));
const told = (agent: TestAgent) => agent.frames.some(({ drain }) => drain !== undefined);
const reasonOf = async (call: Promise<unknown>) =>
  errorReason(
    await call.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );

test("a version that most agents have is taken out in waves, and does overflow until the last", async () => {
  const name = "waves";
  await connect(name, "1", "w-old");
  const fresh = await Promise.all(["w-1", "w-2", "w-3", "w-4"].map((agentId) => connect(name, "2", agentId)));
  const request = { name, version: "2", reason: "it is slow", incidentId: "i-1", maxShare: 50 };
  const first = await client.barVersion(request);
  assert.deepEqual([first.remainingSessions, first.version?.weight, first.version?.drainingSessions], [2, 1, 2]);
  const again = await client.barVersion(request);
  assert.deepEqual([again.remainingSessions, again.version?.drainingSessions], [2, 2], "those are not gone yet");
  const leaving = fresh.slice(0, 2);
  for (const agent of leaving) {
    await agent.until("its drain", () => told(agent));
    assert.equal(agent.frames.find(({ drain }) => drain)?.drain?.reason, "it is slow");
    agent.stream.end();
    await dispatcher.ended(agent.sessionId);
  }
  assert.deepEqual(fresh.map(told), [true, true, false, false]);
  // It comes back as it was, and that does not count.
  await connect(name, "2", "w-1");
  let last = await client.barVersion(request);
  while (last.remainingSessions > 0) last = await client.barVersion(request);
  assert.deepEqual([last.version?.weight, last.version?.barred], [0, true]);
  for (const agent of fresh.slice(2)) await agent.until("its drain", () => told(agent));
});

test("agents rest one at a time, never all of a name or the last of a version; a new session does not end it", async () => {
  const name = "resting";
  const [one] = await Promise.all(["r-1", "r-2", "r-3"].map((agentId) => connect(name, "1", agentId)));
  const attached = await dispatcher.attached(one!.sessionId);
  const eject = (agentId: string, incidentId: string, restMs = 60_000) =>
    client.ejectAgent({ agentId, rest: durationFromMs(restMs), reason: "it fails", incidentId, maxShare: 50 });
  const { agent } = await eject("r-1", "i-1");
  assert.ok(agent?.restUntilTime);
  await dispatcher.until("no slots", () => attached.updates.at(-1)?.slots === 0);
  assert.deepEqual((await eject("r-1", "i-1")).agent?.restUntilTime, agent.restUntilTime, "the same incident again");
  assert.equal(await reasonOf(eject("r-2", "i-2")), "TOO_MANY_EJECTED");
  assert.equal(await reasonOf(eject("nobody", "i-3")), "AGENT_NOT_FOUND");

  using back = await TestAgent.connect(port, { agentId: "r-1", name, version: "1" });
  const anew = await dispatcher.attached(back.sessionId);
  await dispatcher.until("no slots either", () => anew.updates.at(-1)?.slots === 0 || anew.attach.slots === 0);
  await eject("r-1", "", 0);
  await dispatcher.until("its slots again", () => anew.updates.at(-1)?.slots === 1);
});
