import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { z } from "zod";
import { defineAgent, type LegionAgent } from "#libs/agent/index.ts";
import { LegionCore, LegionError } from "#libs/client/index.ts";
import { RateLimitService } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { memoryLog } from "../agent/harness/logs.ts";
import { type Mesh, startMesh } from "../harness/mesh.ts";
import { waitFor } from "../harness/wait-for.ts";

const stack = new AsyncDisposableStack();
let mesh: Mesh;
let core: LegionCore;

before(async () => {
  mesh = stack.use(await startMesh());
  core = stack.use(new LegionCore({ dispatcher: mesh.dispatcher.address, registry: mesh.registry.address }));
});
after(() => stack.disposeAsync());

const client = <Service extends Parameters<typeof createClient>[0]>(service: Service, address: string) =>
  createClient(service, stack.use(new GrpcChannel(address)));

/** An agent that answers every task of the capability with its own id. */
async function start(agentId: string, capability: string, options: { version?: string; wait?: Promise<unknown> } = {}) {
  const { version = "1", wait } = options;
  const agent: LegionAgent = defineAgent({
    name: `${capability}-agent`,
    agentId,
    version,
    registry: mesh.registry.address,
    log: memoryLog().log,
    capabilities: {
      async [capability]({ waits }) {
        if (waits) await wait;
        return { by: agentId };
      },
    },
  });
  await agent.start();
  return stack.use(agent);
}

/** Who does so many tasks. */
async function whoDoes(capability: string, count: number): Promise<string[]> {
  const results = await Promise.all(
    Array.from({ length: count }, () => core.dispatchTask<{ by: string }>(undefined, {}, capability)),
  );
  return [...new Set(results.map(({ by }) => by))].toSorted();
}

const onlyBy = (agentId: string, capability: string) =>
  waitFor(async () => (await whoDoes(capability, 5)).join() === agentId, {
    describe: `all tasks of ${capability} to go to ${agentId}`,
  });

test("what does not match the capability's schema is refused at the door, with the path of each violation", async () => {
  const item = z.object({ sku: z.string().min(1), count: z.int().positive() });
  const agent = stack.use(
    defineAgent({
      name: "orders",
      registry: mesh.registry.address,
      log: memoryLog().log,
      capabilities: {
        order: { input: z.object({ items: z.array(item).min(1) }), execute: ({ items }) => ({ lines: items.length }) },
      },
    }),
  );
  await agent.start();
  assert.deepEqual(await core.dispatchTask("good", { items: [{ sku: "a", count: 1 }] }, "order"), { lines: 1 });
  const bad = { items: [{ sku: "a", count: 1 }, { sku: "", count: 0 }, { count: 1 }] };
  await assert.rejects(core.dispatchTask("bad", bad, "order"), (error: LegionError) => {
    assert.deepEqual([error.code, error.reason], ["INVALID_ARGUMENT", "TASK_DATA_SCHEMA_MISMATCH"]);
    assert.deepEqual(
      error.violations.map(({ field }) => field),
      ["items[1].sku", "items[1].count", "items[2].sku"].map((path) => `task.task_data.${path}`),
    );
    return true;
  });
  await assert.rejects(core.getTask("bad"), (error: LegionError) => error.reason === "TASK_NOT_FOUND");
});

test("what is over a limit is refused with the time to wait, and nothing is stored; without the limit it passes", async () => {
  const limits = client(RateLimitService, mesh.ratelimit.address);
  await start("limited-1", "limited");
  await limits.setLimit({
    limit: {
      name: "few",
      selector: { capabilities: ["limited"] },
      kind: { case: "tokenBucket", value: { tokens: 3n, period: durationFromMs(3_600_000) } },
    },
  });
  const accepted: string[] = [];
  let refusal: LegionError | undefined;
  await waitFor(
    async () => {
      const taskId = `limited-${accepted.length}`;
      try {
        await core.dispatchTask(taskId, {}, "limited");
        accepted.push(taskId);
      } catch (error) {
        assert.ok(error instanceof LegionError);
        refusal = error;
      }
      return refusal !== undefined;
    },
    { describe: "a refusal" },
  );
  assert.deepEqual([refusal?.code, refusal?.reason], ["RESOURCE_EXHAUSTED", "RATE_LIMITED"]);
  // The bucket gets a token every 20 minutes.
  const delayMs = refusal?.retryDelayMs ?? 0;
  assert.ok(delayMs > 1_000_000 && delayMs <= 1_200_000, `${delayMs} ms`);
  const refused = `limited-${accepted.length}`;
  await assert.rejects(core.getTask(refused), (error: LegionError) => error.reason === "TASK_NOT_FOUND");
  await limits.deleteLimit({ name: "few" });
  await waitFor(() => core.dispatchTask(refused, {}, "limited"), { describe: "the limit to be gone" });
});

test("an agent that is drained finishes what it has and ends; new work goes to another", async () => {
  const { promise: wait, resolve: goOn } = Promise.withResolvers<void>();
  const first = await start("drained-1", "drained", { wait });
  const held = await core.dispatchTaskAsync("held", { waits: true }, "drained");
  await waitFor(async () => (await held.status()).state === "LEASED", { describe: "the task to run" });
  await start("drained-2", "drained", { wait });

  const registry = client(RegistryService, mesh.registry.address);
  await registry.drainAgent({ agentId: "drained-1", reason: "maintenance" });
  await waitFor(() => first.getStatus().state === "draining", { describe: "the agent to be told" });
  assert.deepEqual(await whoDoes("drained", 30), ["drained-2"]);
  goOn();
  assert.deepEqual(await held.result(), { by: "drained-1" });
  await first.stopped;
  assert.deepEqual(await whoDoes("drained", 5), ["drained-2"]);
});

test("work follows the weights of the versions, as they are set", async () => {
  await start("rolled-1", "rolled", { version: "1" });
  await start("rolled-2", "rolled", { version: "2" });
  const registry = client(RegistryService, mesh.registry.address);
  const weigh = (version: string, weight: number) =>
    registry.setVersionWeight({ name: "rolled-agent", version, weight });
  assert.deepEqual(await whoDoes("rolled", 60), ["rolled-1", "rolled-2"], "both have the weight they begin with");
  await weigh("2", 0);
  await onlyBy("rolled-1", "rolled");
  assert.deepEqual(await whoDoes("rolled", 60), ["rolled-1"]);
  await weigh("2", 100);
  await weigh("1", 0);
  await onlyBy("rolled-2", "rolled");
  assert.deepEqual(await whoDoes("rolled", 60), ["rolled-2"]);

  // With no version that may work, work waits.
  await weigh("2", 0);
  const { versions } = await registry.listVersions({ name: "rolled-agent" });
  assert.deepEqual(versions.map(({ version, weight }) => `${version}: ${weight}`).toSorted(), ["1: 0", "2: 0"]);
  const waiting = await waitFor(
    async () => {
      const handle = await core.dispatchTaskAsync(undefined, {}, "rolled");
      return (await handle.status()).state === "QUEUED" && handle;
    },
    { describe: "a task that waits" },
  );
  await weigh("1", 1);
  assert.deepEqual(await waiting.result(), { by: "rolled-1" });
});
