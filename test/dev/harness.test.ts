import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { startMesh } from "../harness/mesh.ts";
import { runCli } from "../harness/run-cli.ts";
import { waitFor } from "../harness/wait-for.ts";
import { living } from "./local-legion.ts";

test("a mesh for tests runs tasks, and each of its processes can be killed and started again", async () => {
  await using mesh = await startMesh({ agents: true, replicas: { registry: 2 }, env: { LOG_LEVEL: "debug" } });
  assert.deepEqual(
    [...mesh.processes.keys()],
    ["registry", "registry-2", "dispatcher", "ratelimit", "watchdog", "agents"],
  );
  assert.equal(mesh.env["LEGION_REGISTRY"], `${mesh.registry.address},${mesh.process("registry-2").address}`);
  const greet = async (): Promise<void> => {
    const { code, stdout } = await runCli(["run", "greet", "-"], { env: mesh.env, input: '{"name":"Ada"}' });
    assert.deepEqual([code, stdout], [0, '{"greeting":"Hello, Ada!"}\n']);
  };
  await greet();

  const { pid, address } = mesh.dispatcher;
  await mesh.kill("dispatcher");
  assert.ok(!mesh.dispatcher.isRunning);
  await mesh.restart("dispatcher");
  assert.notEqual(mesh.dispatcher.pid, pid);
  assert.equal(mesh.dispatcher.address, address);
  await greet();
  assert.equal(mesh.dispatcher.records.filter(({ msg }) => msg === "listening").length, 2);

  await mesh.stop();
  assert.ok([...mesh.processes.values()].every((process) => !process.isRunning));
  assert.ok(mesh.logs("registry").some((line) => line.includes('"stopped"')));
});

test("nothing of a mesh outlives the test's process, however that ends", async (t) => {
  const main = fileURLToPath(new URL("fixtures/mesh-owner.ts", import.meta.url));
  const owner = spawn(process.execPath, [main], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => owner.kill("SIGKILL"));
  const ended = once(owner, "exit").then(([code]) => Promise.reject(new Error(`the owner ended with ${String(code)}`)));
  ended.catch(() => {});
  const [line] = (await Promise.race([once(createInterface({ input: owner.stdout }), "line"), ended])) as [string];
  const pids = JSON.parse(line) as Record<string, number>;
  assert.deepEqual(living(pids), ["registry", "dispatcher", "dispatcher-2", "ratelimit", "watchdog"]);
  owner.kill("SIGKILL");
  await waitFor(() => living(pids).length === 0, { describe: () => `the end of ${living(pids).join(", ")}` });
});

test("waiting in vain says for what, and why", async () => {
  const condition = (): never => {
    throw new Error("not there");
  };
  await assert.rejects(waitFor(condition, { timeoutMs: 20, describe: "Godot" }), (error: Error) => {
    assert.match(error.message, /Waited for Godot in vain/);
    assert.match(String(error.cause), /not there/);
    return true;
  });
});
