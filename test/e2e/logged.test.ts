import assert from "node:assert/strict";
import { test } from "node:test";
import { LegionCore } from "#libs/client/index.ts";
import { serviceNames, startMesh } from "../harness/mesh.ts";
import { find, scrape } from "../harness/scrape.ts";
import { waitFor } from "../harness/wait-for.ts";

test("what users send, and what comes of it, is in no service's log", async () => {
  const secret = "never-logged-4711";
  await using mesh = await startMesh({ agents: true, env: { LOG_LEVEL: "debug" } });
  await using core = new LegionCore({ dispatcher: mesh.dispatcher.address });
  assert.deepEqual(await core.dispatchTask(undefined, { name: secret }, "greet"), { greeting: `Hello, ${secret}!` });
  await assert.rejects(core.dispatchTask(undefined, { message: secret, times: 9, retryable: false }, "fail"), {
    message: secret,
  });
  await core.dispatchTaskAsync("waits", { name: secret }, "nobody", { user: secret, labels: { of: secret } });
  await core.dispatchTaskAsync("runs", { ms: 60_000, note: secret }, "sleep");
  await core.cancelTask("waits", { reason: secret });
  // With work in hand the agents' end, the rescue and what is told of them are logged too.
  const held = async (): Promise<boolean> =>
    find(await scrape(mesh.registry), "legion_registry_attempts_in_flight", {}) === 1;
  await waitFor(held, { describe: "the task to run" });
  await mesh.kill("agents");
  const rescued = { capability: "sleep", cause: "lost" };
  await waitFor(
    async () => find(await scrape(mesh.dispatcher), "legion_dispatcher_tasks_requeued_total", rescued) === 1,
    { describe: "its rescue", timeoutMs: 30_000 },
  );
  for (const name of serviceNames) {
    assert.ok(mesh.logs(name).length > 0, `${name} says something`);
    assert.deepEqual(
      mesh.logs(name).filter((line) => line.includes(secret)),
      [],
    );
  }
});
