import assert from "node:assert/strict";
import { TaskFailedError } from "#libs/client/index.ts";
import type { Behaviour } from "../trial.ts";

const minuteMs = 60_000;

export const progress: Behaviour[] = [
  {
    name: "tells its progress, in order",
    async run(trial) {
      await trial.agent();
      const { taskId } = await trial.submit("sleep", { ms: 2_000, steps: 5 });
      const news: string[] = [];
      for await (const event of trial.world.core.watchTask(taskId)) {
        if (event.progress !== undefined) news.push(`${event.progress.fraction.toFixed(2)} ${event.progress.message}`);
      }
      const all = [1, 2, 3, 4, 5].map((step) => `${(step / 5).toFixed(2)} step ${step} of 5`);
      // Progress is not kept: the first may come before anybody watches, the last after the outcome.
      assert.deepEqual(
        news,
        all.filter((line) => news.includes(line)),
        "in order and none of it twice",
      );
      assert.ok(news.length >= 3, `only ${news.length} of 5 came`);
    },
  },
  {
    name: "stops a task that is canceled",
    async run(trial) {
      const agent = await trial.agent();
      const task = await trial.submit("sleep", { ms: minuteMs });
      const slow = await trial.submit("sleep", { ms: minuteMs, steps: 1_000 });
      await agent.until("begin", 2);
      await Promise.all([task.cancel("no longer wanted"), slow.cancel()]);
      for (const { taskId } of [task, slow]) {
        assert.equal((await agent.untilTask("end", taskId)).how, "canceled");
        let last;
        for await (const event of trial.world.core.watchTask(taskId)) last = event;
        assert.equal(last?.state, "CANCELED");
      }
      assert.deepEqual(await trial.run("echo", { still: "here" }), { still: "here" });
    },
  },
  {
    name: "stops a task whose execution timeout has passed",
    async run(trial) {
      const agent = await trial.agent();
      const taskId = trial.taskId("late");
      const task = trial.run(
        "sleep",
        { ms: minuteMs },
        { taskId, executionTimeoutMs: 400, retryPolicy: { maxAttempts: 2, initialDelayMs: 10 } },
      );
      await assert.rejects(task, (error: unknown) => {
        assert.ok(error instanceof TaskFailedError);
        assert.deepEqual([error.state, error.attempt, error.code], ["DEAD", 2, "EXECUTION_TIMEOUT"]);
        return true;
      });
      const ends = [await agent.untilTask("end", taskId, 1), await agent.untilTask("end", taskId, 2)];
      assert.deepEqual(
        ends.map(({ how }) => how),
        ["canceled", "canceled"],
      );
      // Its slots are free again.
      await Promise.all(Array.from({ length: 5 }, () => trial.run("sleep", { ms: 10 })));
    },
  },
];
