import assert from "node:assert/strict";
import { TaskFailedError } from "#libs/client/index.ts";
import type { Behaviour, Trial } from "../trial.ts";

async function failureOf(task: Promise<unknown>): Promise<TaskFailedError> {
  const thrown: unknown = await task.then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof TaskFailedError, `a failed task, but it is ${String(thrown)}`);
  return thrown;
}

const lives = async (trial: Trial): Promise<void> => {
  assert.deepEqual(await trial.run("echo", { still: "here" }), { still: "here" });
};

const twice = { retryPolicy: { maxAttempts: 2, initialDelayMs: 10 } };

export const failures: Behaviour[] = [
  {
    name: "a failure for good ends the task",
    async run(trial) {
      const agent = await trial.agent();
      const taskId = trial.taskId("task");
      const input = { message: "Kein Platz für 🦉.", retryable: false, code: "NoSuchPlace" };
      const { state, attempt, code, message, retryable } = await failureOf(
        trial.run("fail", input, { ...twice, taskId }),
      );
      assert.deepEqual(
        { state, attempt, code, message, retryable },
        { state: "FAILED", attempt: 1, code: "NoSuchPlace", message: "Kein Platz für 🦉.", retryable: false },
      );
      assert.equal((await agent.untilTask("end", taskId)).how, "failed");
    },
  },
  {
    name: "a failure that may pass is tried again",
    async run(trial) {
      const agent = await trial.agent();
      const { state, attempt, code, message, retryable } = await failureOf(
        trial.run("fail", { message: "not now", retryable: true }, twice),
      );
      assert.deepEqual(
        { state, attempt, code, message, retryable },
        { state: "DEAD", attempt: 2, code: "Failed", message: "not now", retryable: true },
      );
      assert.deepEqual(
        agent.all("begin").map((begin) => begin.attempt),
        [1, 2],
      );
    },
  },
  {
    name: "an exception fails its task, and no more",
    async run(trial) {
      const agent = await trial.agent();
      const { code, message } = await failureOf(
        trial.run("crash", { message: "out of cheese" }, { retryPolicy: { maxAttempts: 1 } }),
      );
      assert.match(message, /out of cheese/);
      assert.match(code, /^[A-Za-z_][\w.:$]*$/, "the exception's name");
      assert.equal(agent.all("end")[0]?.how, "failed");
      // More often than it has slots, so that none of them can be lost to an exception.
      await Promise.all(
        Array.from({ length: 6 }, () =>
          failureOf(trial.run("crash", { message: "again" }, { retryPolicy: { maxAttempts: 1 } })),
        ),
      );
      await lives(trial);
      assert.equal(agent.all("connected").length, 1, "on the same stream");
    },
  },
];
