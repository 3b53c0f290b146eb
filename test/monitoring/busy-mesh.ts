import { LegionCore } from "#libs/client/index.ts";
import { type Mesh, startMesh } from "../harness/mesh.ts";
import { runCli } from "../harness/run-cli.ts";
import { find, scrape } from "../harness/scrape.ts";
import { waitFor } from "../harness/wait-for.ts";

/** A mesh in which everything has happened that a metric tells of, but a rollback. */
export async function startBusyMesh(): Promise<Mesh> {
  await using undo = new AsyncDisposableStack();
  const mesh = undo.use(await startMesh({ agents: true }));
  const limited = await runCli(["limits", "set", "few", "--rate", "1/h", "--capability", "wordcount"], {
    env: mesh.env,
  });
  if (limited.code !== 0) throw new Error(limited.stderr);
  await using core = undo.use(new LegionCore({ dispatcher: mesh.dispatcher.address }));
  await core.dispatchTask(undefined, { name: "Ada" }, "greet");
  await core.dispatchTask(undefined, { times: 9, retryable: false }, "fail").catch(() => {});
  await core.dispatchTaskAsync("waits", {}, "nobody");
  // The Dispatcher reads the limits soon after they are set.
  let parked = 0;
  await waitFor(
    async () => {
      await core.dispatchTaskAsync(`parked-${++parked}`, { text: "a b" }, "wordcount", { whenLimited: "wait" });
      return (find(await scrape(mesh.dispatcher), "legion_dispatcher_parked_tasks", {}) ?? 0) > 0;
    },
    { describe: "a task that the limit holds back", timeoutMs: 30_000 },
  );
  // With its agent lost, an attempt comes again.
  await core.dispatchTaskAsync("sleeps", { ms: 60_000 }, "sleep");
  await waitFor(async () => find(await scrape(mesh.registry), "legion_registry_attempts_in_flight", {}) === 1, {
    describe: "the task to run",
  });
  await mesh.kill("agents");
  await waitFor(
    async () =>
      find(await scrape(mesh.dispatcher), "legion_dispatcher_tasks_requeued_total", {
        capability: "sleep",
        cause: "lost",
      }) === 1,
    { describe: "the rescue of its task", timeoutMs: 30_000 },
  );
  await mesh.startAgents();
  await waitFor(
    async () => find(await scrape(mesh.watchdog), "legion_watchdog_samples_total", { result: "failed" }) !== undefined,
    { describe: "the Watchdog to hear of it" },
  );
  undo.move();
  return mesh;
}
