import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { AgentState } from "#libs/proto/legion/registry/v1/agent_pb.ts";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { errorReason, errorViolations } from "#libs/rpc/errors.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { testDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";
import type { RunningRegistry } from "../../services/registry/service.ts";
import { FakeDispatcher } from "./harness/fake-dispatcher.ts";
import { migrateRegistry, startTestRegistry } from "./harness/registry-under-test.ts";
import { TestAgent } from "./harness/test-agent.ts";

const stack = new AsyncDisposableStack();
let dispatcher: FakeDispatcher;
let registry: RunningRegistry;
let client: ReturnType<typeof createClient<typeof RegistryService>>;

before(async () => {
  const { connectionString } = stack.use(await testDatabase());
  await migrateRegistry(connectionString);
  dispatcher = stack.use(await FakeDispatcher.start());
  registry = stack.use(await startTestRegistry(connectionString, [dispatcher]));
  client = createClient(RegistryService, stack.use(new GrpcChannel(`127.0.0.1:${registry.grpcPort}`)));
});
after(() => stack.disposeAsync());

const reasonOf = (promise: Promise<unknown>): Promise<string | undefined> =>
  promise.then(
    () => assert.fail("it succeeded"),
    (error: unknown) => errorReason(error),
  );

test("an agent is shown as it is, with its session and after it", async () => {
  const capabilities = [{ name: "greet", slots: 1, inputSchema: '{"type":"object"}' }];
  using agent = await TestAgent.connect(registry.grpcPort, {
    agentId: "shown",
    name: "greeter",
    version: "1.2",
    capabilities,
    labels: [{ key: "region", value: "eu" }],
    slots: 3,
    sdk: "test/1",
  });
  await dispatcher.attached(agent.sessionId);
  dispatcher.assign(agent.sessionId, "held");
  await agent.assigned("held");
  const { agent: shown } = await client.getAgent({ agentId: "shown" });
  assert.ok(shown);
  const { name, version, slots, inFlight, state, sessionId, sdk } = shown;
  assert.deepEqual(
    { name, version, slots, inFlight, state, sessionId, sdk },
    {
      name: "greeter",
      version: "1.2",
      slots: 3,
      inFlight: 1,
      state: AgentState.ACTIVE,
      sessionId: agent.sessionId,
      sdk: "test/1",
    },
  );
  assert.deepEqual(
    shown.capabilities.map(({ name: capability, slots: own, inputSchema }) => ({
      name: capability,
      slots: own,
      inputSchema,
    })),
    capabilities,
  );
  assert.deepEqual(
    shown.labels.map(({ key, value }) => [key, value]),
    [["region", "eu"]],
  );
  assert.equal(shown.disconnectTime, undefined);

  agent.stream.end();
  await agent.end();
  const gone = await waitFor(
    async () => {
      const answer = await client.getAgent({ agentId: "shown" });
      return answer.agent?.state === AgentState.DISCONNECTED && answer.agent;
    },
    { describe: "the agent to be disconnected" },
  );
  assert.ok(gone.disconnectTime);
  assert.equal(gone.disconnectReason, "the agent ended its stream");
  assert.equal(await reasonOf(client.drainAgent({ agentId: "shown" })), "AGENT_NOT_CONNECTED");
});

test("what was never seen is not found, and what is asked wrongly is refused", async () => {
  assert.equal(await reasonOf(client.getAgent({ agentId: "nobody" })), "AGENT_NOT_FOUND");
  assert.equal(await reasonOf(client.drainAgent({ agentId: "nobody" })), "AGENT_NOT_FOUND");
  assert.equal(await reasonOf(client.setVersionWeight({ name: "no", version: "1", weight: 1 })), "VERSION_NOT_FOUND");
  assert.equal(await reasonOf(client.setVersionWeight({ name: "no", version: "1", weight: 1_001 })), "INVALID_REQUEST");
  assert.equal(await reasonOf(client.getAgent({})), "INVALID_REQUEST");
});

test("agents are listed page by page, and tokens are for the list they came from", async () => {
  using agents = new DisposableStack();
  for (let i = 0; i < 5; i++) {
    const name = i % 2 === 0 ? "even" : "odd";
    agents.use(
      await TestAgent.connect(registry.grpcPort, { namespace: "paged", agentId: `p${i}`, capabilities: [{ name }] }),
    );
  }
  const seen: string[] = [];
  let pageToken = "";
  do {
    const page = await client.listAgents({ namespace: "paged", pageSize: 2, pageToken });
    assert.deepEqual([page.totalAgents, page.activeAgents], [5, 5]);
    seen.push(...page.agents.map(({ agentId }) => agentId));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  assert.deepEqual(seen, ["p0", "p1", "p2", "p3", "p4"]);
  const even = await client.listAgents({
    namespace: "paged",
    capability: "even",
    states: [AgentState.ACTIVE],
    pageSize: 2,
  });
  assert.deepEqual(
    even.agents.map(({ agentId }) => agentId),
    ["p0", "p2"],
  );
  assert.notEqual(even.nextPageToken, "");
  for (const token of [even.nextPageToken, "nonsense", Buffer.from("{}").toString("base64url")]) {
    const error: unknown = await client
      .listAgents({ namespace: "paged", pageToken: token })
      .catch((thrown: unknown) => thrown);
    assert.equal(errorViolations(error)[0]?.field, "page_token");
  }
});

test("the Dispatchers hear how many agents there are", async () => {
  const earlier = dispatcher.counts ?? { total: 0n, active: 0n };
  using agent = await TestAgent.connect(registry.grpcPort, { agentId: "counted" });
  await dispatcher.until("one more", () => dispatcher.counts && dispatcher.counts.total > earlier.total);
  agent.stream.end();
  const { total } = dispatcher.counts!;
  await dispatcher.until(
    "it to be gone",
    () => dispatcher.counts!.active < total && dispatcher.counts!.total === total,
  );
});

test("metrics count what passes", async () => {
  const text = await waitFor(
    async () => {
      const body = await (await fetch(`http://127.0.0.1:${registry.httpPort}/metrics`)).text();
      return /legion_registry_links\{[^}]*state="up"[^}]*\} 1/.test(body) && body;
    },
    { describe: "the metrics" },
  );
  for (const name of [
    "sessions",
    "sessions_ended_total",
    "frames_total",
    "agents",
    "hellos_total",
    "assignments_total",
  ]) {
    assert.match(text, new RegExp(`^legion_registry_${name}[ {]`, "m"));
  }
  const answer = await fetch(`http://127.0.0.1:${registry.httpPort}/legion.registry.v1.RegistryService/ListAgents`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"namespace":"paged"}',
  });
  assert.equal(((await answer.json()) as { totalAgents: number }).totalAgents, 5);
});
