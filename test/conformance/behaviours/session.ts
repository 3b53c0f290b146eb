import assert from "node:assert/strict";
import { AgentState } from "#libs/proto/legion/registry/v1/agent_pb.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { BlackHole } from "../black-hole.ts";
import type { Behaviour } from "../trial.ts";
import { hastyLeaseMs } from "../world.ts";

export const session: Behaviour[] = [
  {
    name: "beats while all its slots burn CPU",
    async run(trial) {
      const agent = await trial.agent({ registry: [trial.world.hasty.address] });
      const ms = 2 * hastyLeaseMs;
      const tasks = Array.from({ length: 4 }, () => trial.run("burn", { ms }, { retryPolicy: { maxAttempts: 1 } }));
      assert.deepEqual(
        await Promise.all(tasks),
        tasks.map(() => ({ burned: ms })),
      );
      assert.equal(agent.all("connected").length, 1, "its session lived through it");
    },
  },
  {
    name: "finds a silent network, and comes back",
    async run(trial) {
      const { hasty, core } = trial.world;
      const proxy = trial.use(await BlackHole.start(hasty.address));
      const agent = await trial.agent({ registry: [proxy.address] });
      const held = trial.taskId("held");
      const result = trial.run("sleep", { ms: 2 * hastyLeaseMs }, { taskId: held });
      await agent.untilTask("begin", held);
      const connections = proxy.swallow();
      // By both sides, each by itself, for neither can tell the other.
      await waitFor(async () => (await trial.listed(agent))?.state !== AgentState.ACTIVE, {
        describe: "the mesh to find that the agent is silent",
      });
      await waitFor(() => connections.every(({ isOver }) => isOver), {
        describe: () => `the agent to give the dead connection up; it printed:\n${agent.transcript()}`,
      });
      proxy.forward();
      await agent.until("connected", 2, 30_000);
      assert.deepEqual(await result, { slept: 2 * hastyLeaseMs });
      const { state } = await core.getTask(held);
      assert.equal(state, "COMPLETED");
      assert.deepEqual(await trial.run("echo", { still: "here" }), { still: "here" });
      // What it was doing when the mesh gave it up is not done twice at a time.
      await agent.when(() => agent.all("end").length === agent.all("begin").length, "the end of all it began");
    },
  },
  {
    name: "Registry killed -9: resumes, runs nothing twice",
    async run(trial) {
      const { mesh, core } = trial.world;
      const agent = await trial.agent();
      const before = await core.getMetrics();
      // Some end while it is away, some after it is back.
      const lengths = [300, 1_000, 3_000, 6_000];
      const taskIds = lengths.map((ms) => trial.taskId(`of-${ms}`));
      const tasks = lengths.map((ms, n) => trial.run("sleep", { ms }, { taskId: taskIds[n]! }));
      await agent.until("begin", 4);
      await mesh.kill("registry");
      await mesh.restart("registry");
      const [, again] = await agent.until("connected", 2, 30_000);
      assert.equal(again?.resumed, true);
      assert.deepEqual(
        await Promise.all(tasks),
        lengths.map((ms) => ({ slept: ms })),
      );
      assert.deepEqual(
        agent
          .all("begin")
          .map(({ task_id, attempt }) => `${task_id} ${attempt}`)
          .toSorted(),
        taskIds.map((taskId) => `${taskId} 1`).toSorted(),
      );
      const after = await core.getMetrics();
      assert.equal(after.tasksCompleted - before.tasksCompleted, 4);
      assert.equal(after.tasksDispatched - before.tasksDispatched, 4);
    },
  },
  {
    name: "gives way to a newer process of its id, exits 1",
    async run(trial) {
      const older = await trial.agent();
      const newer = await trial.agent({ agentId: older.agentId });
      assert.equal(await older.untilExit(), 1, older.transcript());
      assert.notEqual(older.errorLines.join(""), "", "it says why");
      await trial.run("echo", {});
      assert.equal(newer.exit, undefined, newer.transcript());
    },
  },
  {
    name: "waits for a Registry that is not there yet",
    async run(trial) {
      const proxy = trial.use(await BlackHole.start(trial.world.mesh.registry.address, { refuses: true }));
      const agent = await trial.agent({ registry: [proxy.address], connected: false });
      await waitFor(() => proxy.refused >= 3, {
        timeoutMs: 20_000,
        describe: () => `its third try to connect; it printed:\n${agent.transcript()}`,
      });
      proxy.forward();
      await agent.until("connected", 1);
      await trial.run("echo", {});
    },
  },
  {
    name: "goes on to the next address of its list",
    async run(trial) {
      const nobody = await trial.addressOfNobody();
      const { registry } = trial.world.endpoints;
      await Promise.all([
        trial.agent({ registry: [nobody, ...registry] }),
        trial.agent({ registry: [...registry, nobody] }),
      ]);
    },
  },
];
