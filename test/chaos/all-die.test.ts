import assert from "node:assert/strict";
import { test } from "node:test";
import { ownPostgres } from "../harness/postgres.ts";
import { runCli } from "../harness/run-cli.ts";
import { waitFor } from "../harness/wait-for.ts";
import { Load } from "./load.ts";
import { World } from "./world.ts";

test("kill -9 of everything at once, Postgres and agents included: every accepted task completes", async () => {
  await using postgres = await ownPostgres();
  await using world = await World.start({ postgres });
  const { core, mesh } = world;
  const load = await Load.start(world, "all", 1_000);
  // Accepted, and nobody waits for them or would hand them over again.
  const handles = await Promise.all(
    Array.from({ length: 300 }, (_, n) => core.dispatchTaskAsync(`alone-${n}`, { n, ms: 20 }, "work")),
  );
  const lines = Array.from({ length: 300 }, (_, n) => ({ n, ms: 100 }));
  const input = lines.map((line) => JSON.stringify(line)).join("\n");
  const command = runCli(["run", "work", "--jsonl"], { env: mesh.env, input, timeoutMs: 90_000 });
  const submitted = 1_000 + handles.length + 100;
  await waitFor(async () => (await core.getMetrics()).tasksSubmitted >= submitted, { describe: "the command's tasks" });
  await load.whenAnswered(150);

  const processes = [...mesh.processes.values()];
  await Promise.all([postgres.kill(), ...processes.map((process) => process.kill())]);
  await postgres.restart();
  await Promise.all(processes.map((process) => process.start()));

  await world.whenHealthy();
  let left: string[] = [];
  await waitFor(
    async () => {
      const pages = await Promise.all(handles.map((handle) => handle.status()));
      left = pages.filter(({ state }) => state !== "COMPLETED").map(({ taskId, state }) => `${taskId} ${state}`);
      return left.length === 0;
    },
    { timeoutMs: 30_000, describe: () => `the end of what nobody waits for; left are ${left.join(", ")}` },
  );
  const { code, stdout, stderr } = await command;
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
    lines.map(({ n }) => ({ n })),
    "the command goes on over it, and its output is whole and in order",
  );
  await load.assertAllCompletedOnce({ beside: handles.length + lines.length });
});
