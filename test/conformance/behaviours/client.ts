import assert from "node:assert/strict";
import { waitFor } from "../../harness/wait-for.ts";
import { BlackHole } from "../black-hole.ts";
import type { Behaviour } from "../trial.ts";

export const client: Behaviour[] = [
  {
    name: "runs a task and prints its result",
    async run(trial) {
      await trial.agent();
      const input = { text: "straße 🦉", n: Number.MAX_SAFE_INTEGER, deep: [{ a: [null, {}] }] };
      const { code, stdout, stderr } = await trial.client(["echo", JSON.stringify(input)]);
      assert.equal(code, 0, stderr);
      assert.deepEqual(JSON.parse(stdout), input);
    },
  },
  {
    name: "tells of a failed task: exits 1",
    async run(trial) {
      await trial.agent();
      const input = JSON.stringify({ message: "Kein Platz.", retryable: false, code: "NoSuchPlace" });
      const { code, stdout, stderr } = await trial.client(["fail", input]);
      assert.deepEqual([code, stdout], [1, ""], stderr);
      assert.match(stderr, /^NoSuchPlace: Kein Platz\.$/m);
    },
  },
  {
    name: "tells why its input was refused: exits 2",
    async run(trial) {
      const { code, stdout, stderr } = await trial.client(["echo", "[1, 2]"]);
      assert.deepEqual([code, stdout], [2, ""], stderr);
      assert.match(stderr, /TASK_DATA_NOT_OBJECT/);
      const other = await trial.client(["no such capability", "{}"]);
      assert.equal(other.code, 2, other.stderr);
      assert.match(other.stderr, /INVALID_REQUEST/);
    },
  },
  {
    name: "tells that the mesh is away: exits 3",
    async run(trial) {
      const given = ["echo", "{}", "--timeout-ms", "1500"];
      const { code, stdout, stderr } = await trial.client(given, { dispatcher: [await trial.addressOfNobody()] });
      assert.deepEqual([code, stdout], [3, ""], stderr);
    },
  },
  {
    name: "tells that its time is up: exits 4",
    async run(trial) {
      const taskId = trial.taskId("waits");
      const given = ["echo", "{}", "--timeout-ms", "1500", "--task-id", taskId];
      const { code, stdout, stderr } = await trial.client(given);
      assert.deepEqual([code, stdout], [4, ""], stderr);
      // The task goes on without it.
      assert.equal((await trial.world.core.getTask(taskId)).state, "QUEUED");
      await trial.agent();
      const again = await trial.client(["echo", "{}", "--task-id", taskId]);
      assert.deepEqual([again.code, again.stdout.trim()], [0, "{}"], again.stderr);
    },
  },
  {
    name: "the same task id is the same task",
    async run(trial) {
      const agent = await trial.agent();
      const given = ["sleep", '{"ms": 1}', "--task-id", trial.taskId("one")];
      const results = [await trial.client(given), await trial.client(given)];
      assert.deepEqual(
        results.map(({ code, stdout }) => [code, JSON.parse(stdout)]),
        [
          [0, { slept: 1 }],
          [0, { slept: 1 }],
        ],
      );
      assert.equal(agent.all("begin").length, 1);
    },
  },
  {
    name: "tries again until the mesh is there",
    async run(trial) {
      await trial.agent();
      const proxy = trial.use(await BlackHole.start(trial.world.mesh.dispatcher.address, { refuses: true }));
      const result = trial.client(["echo", '{"n": 1}', "--timeout-ms", "30000"], { dispatcher: [proxy.address] });
      await Promise.race([
        waitFor(() => proxy.refused >= 3, { timeoutMs: 20_000, describe: "its third try to connect" }),
        result.then(({ code, stderr }) => assert.fail(`it gave up with ${code}: ${stderr}`)),
      ]);
      proxy.forward();
      const { code, stdout, stderr } = await result;
      assert.deepEqual([code, stdout.trim().replaceAll(" ", "")], [0, '{"n":1}'], stderr);
    },
  },
];
