import assert from "node:assert/strict";
import { AgentState } from "#libs/proto/legion/registry/v1/agent_pb.ts";
import { waitFor } from "../../harness/wait-for.ts";
import { allCapabilities, type Behaviour } from "../trial.ts";

export const work: Behaviour[] = [
  {
    name: "registers its name, version, slots, labels",
    async run(trial) {
      const agent = await trial.agent();
      const listed = await waitFor(() => trial.listed(agent), { describe: "the agent in the Registry's list" });
      const { name, version, slots, state, sdk } = listed;
      assert.deepEqual(
        { name, version, slots, state, labels: listed.labels.map(({ key, value }) => `${key}=${value}`) },
        {
          name: `${trial.language}-example`,
          version: "1.0.0",
          slots: 4,
          state: AgentState.ACTIVE,
          labels: [`language=${trial.language}`],
        },
      );
      assert.deepEqual(listed.capabilities.map((each) => each.name).toSorted(), allCapabilities.toSorted());
      assert.ok(sdk.includes(trial.language), `it says that it is written with ${JSON.stringify(sdk)}`);
    },
  },
  {
    name: "does a task, and says so on its output",
    async run(trial) {
      const agent = await trial.agent();
      const taskId = trial.taskId("task");
      assert.deepEqual(await trial.run("echo", { hello: "world" }, { taskId }), { hello: "world" });
      await agent.untilTask("end", taskId);
      const [connected, begin, end] = agent.events;
      assert.ok(connected?.event === "connected" && connected.session_id !== "" && !connected.resumed);
      assert.deepEqual(begin, { event: "begin", task_id: taskId, attempt: 1, capability: "echo" });
      assert.deepEqual(end, { event: "end", task_id: taskId, attempt: 1, how: "completed" });
      assert.deepEqual(agent.strayLines, [], "nothing but events on standard output");
    },
  },
  {
    name: "uses all its slots, and never more",
    async run(trial) {
      const agent = await trial.agent();
      await Promise.all(Array.from({ length: 40 }, () => trial.run("sleep", { ms: 50 })));
      await agent.until("end", 40);
      assert.equal(agent.all("begin").length, 40);
      assert.equal(agent.peak, 4);
    },
  },
  {
    name: "is not sent what it does not offer",
    async run(trial) {
      const agent = await trial.agent({ capabilities: ["echo"] });
      const other = await trial.submit("sleep", { ms: 1 });
      await Promise.all(Array.from({ length: 8 }, (_, n) => trial.run("echo", { n })));
      assert.equal((await trial.world.core.getTask(other.taskId)).state, "QUEUED");
      assert.deepEqual([...new Set(agent.all("begin").map(({ capability }) => capability))], ["echo"]);
    },
  },
];
