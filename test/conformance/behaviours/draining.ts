import assert from "node:assert/strict";
import { AgentState } from "#libs/proto/legion/registry/v1/agent_pb.ts";
import { waitFor } from "../../harness/wait-for.ts";
import type { AgentProcess } from "../agent-process.ts";
import type { Behaviour, Trial } from "../trial.ts";

/** It holds two tasks, is told to drain, finishes them, takes no third, and ends its session by itself. */
async function drains(trial: Trial, told: (agent: AgentProcess) => void | Promise<void>): Promise<void> {
  const agent = await trial.agent();
  const ms = 2_500;
  const held = [trial.run("sleep", { ms }), trial.run("sleep", { ms })];
  await agent.until("begin", 2);
  await told(agent);
  await agent.until("draining", 1);
  await waitFor(async () => (await trial.listed(agent))?.state === AgentState.DRAINING, {
    describe: "the mesh to hear of it",
  });
  const third = await trial.submit("sleep", { ms: 1 });
  assert.deepEqual(await Promise.all(held), [{ slept: ms }, { slept: ms }]);
  assert.equal(await agent.untilExit(), 0, agent.transcript());
  assert.equal(agent.all("begin").length, 2);
  assert.equal((await trial.world.core.getTask(third.taskId)).state, "QUEUED");
  // Had it only gone away, its session would be kept for it.
  assert.equal((await trial.listed(agent))?.state, AgentState.DISCONNECTED);
}

export const draining: Behaviour[] = [
  {
    name: "SIGTERM: finishes, takes nothing new, exits 0",
    run: (trial) => drains(trial, (agent) => agent.signal("SIGTERM")),
  },
  {
    name: "told by the mesh to drain: the same",
    run: (trial) =>
      drains(trial, async ({ agentId }) => {
        await trial.world.registry.drainAgent({ agentId, reason: "The machine is needed." });
      }),
  },
  {
    name: "says again that it drains, after a reconnect",
    async run(trial) {
      const registry = await trial.scriptedRegistry();
      const agent = await trial.agent({ registry: [registry.address] });
      const first = await registry.stream(0);
      first.assign({ taskId: "held", capability: "sleep", data: { ms: 3_000 } });
      await agent.untilTask("begin", "held");
      agent.signal("SIGTERM");
      await first.until(({ frames }) => frames.some(({ drain }) => drain !== undefined), "a drain");
      first.break();
      const second = await registry.stream(1);
      await second.until(({ frames }) => frames.some(({ drain }) => drain !== undefined), "a drain on the new stream");
      await second.outcome("held");
      assert.equal(await agent.untilExit(), 0, agent.transcript());
    },
  },
  {
    name: "a second SIGTERM ends it at once",
    async run(trial) {
      const agent = await trial.agent();
      const task = await trial.submit("sleep", { ms: 60_000 });
      await agent.untilTask("begin", task.taskId);
      agent.signal("SIGTERM");
      await agent.until("draining", 1);
      agent.signal("SIGTERM");
      assert.equal(await agent.untilExit(), 1);
    },
  },
  {
    name: "SIGTERM while nobody answers: exits 0",
    async run(trial) {
      const registry = await trial.scriptedRegistry();
      const agent = await trial.agent({ registry: [registry.address] });
      await registry[Symbol.asyncDispose]();
      agent.signal("SIGTERM");
      assert.equal(await agent.untilExit(), 0, agent.transcript());
    },
  },
];
