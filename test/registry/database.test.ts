import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { AgentState } from "#libs/proto/legion/registry/v1/agent_pb.ts";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { waitFor } from "../harness/wait-for.ts";
import { FakeDispatcher } from "./harness/fake-dispatcher.ts";
import { migrateRegistry, startTestRegistry } from "./harness/registry-under-test.ts";
import { TestAgent } from "./harness/test-agent.ts";

test("while Postgres is away sessions go on and new ones are refused; when it is back everything is as it should be", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "legion-registry-"));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(dataDir, { recursive: true, force: true }));
  const postgres = stack.use(await startEmbeddedPostgres({ dataDir }));
  await migrateRegistry(postgres.connectionString);
  const dispatcher = stack.use(await FakeDispatcher.start());
  const registry = stack.use(await startTestRegistry(postgres.connectionString, [dispatcher]));
  const port = registry.grpcPort;
  using agent = await TestAgent.connect(port, { agentId: "stays" });
  using ends = await TestAgent.connect(port, { agentId: "ends" });
  await dispatcher.attached(agent.sessionId);

  await postgres.kill();
  using refused = new TestAgent(port);
  refused.hello({ agentId: "refused" });
  assert.equal(await refused.end(), "DATABASE_UNAVAILABLE");
  dispatcher.assign(agent.sessionId, "meanwhile");
  await agent.assigned("meanwhile");
  agent.complete("meanwhile");
  await agent.whenAcknowledged(agent.lastSeq);
  ends.stream.end();
  assert.equal(await ends.end(), "");
  await dispatcher.ended(ends.sessionId);

  await postgres.restart();
  const fresh = await waitFor(() => TestAgent.connect(port, { agentId: "refused" }), { describe: "a new session" });
  using _ = fresh;
  await using channel = new GrpcChannel(`127.0.0.1:${port}`);
  const client = createClient(RegistryService, channel);
  const stateOf = async (agentId: string) => (await client.getAgent({ agentId })).agent?.state;
  await waitFor(async () => (await stateOf("ends")) === AgentState.DISCONNECTED, { describe: "its end to be written" });
  await waitFor(async () => (await stateOf("stays")) === AgentState.ACTIVE, { describe: "the lease to be renewed" });
  assert.equal(agent.closed, false);
});
