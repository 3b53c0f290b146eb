import { join } from "node:path";
import { clearOrphans, openDataDir } from "./data-dir.ts";
import { checkPorts } from "./check-ports.ts";
import type { DemoClient } from "./demo-client.ts";
import { runDemoTask } from "./demo-task.ts";
import { findTraces } from "./find-traces.ts";
import { listenForInterrupts } from "./interrupts.ts";
import { LocalMesh } from "./local-mesh.ts";
import { packageRoot } from "./package-root.ts";
import { defaultPortBase, planPorts } from "./port-plan.ts";
import { showDemoTask } from "./show-demo-task.ts";
import { tellReady } from "./tell-ready.ts";
import { slowStep } from "./slow-step.ts";
import { StartError } from "./start-error.ts";
import { openTerminal, type Terminal } from "./terminal.ts";

export interface DevOptions {
  /** The services listen on the four ports after it, and on those ten further. Default 7400. */
  readonly portBase?: number | undefined;
  /** Holds the embedded Postgres and the logs. Default: `.legion` in the checkout. */
  readonly dataDir?: string | undefined;
  /** Whether the demo agents run, and one task goes through all of it at the start. Default true. */
  readonly demo?: boolean | undefined;
  /** Print JSON objects, one a line. Default false. */
  readonly json?: boolean | undefined;
}

/**
 * Runs a whole mesh on this machine until it is interrupted. Returns the exit code, 0. A second interrupt does not come back
 * from here: it ends the process at once, with 130.
 * @throws StartError when the mesh cannot be started; nothing of it is left then.
 */
export async function dev(options: DevOptions = {}): Promise<number> {
  const terminal = openTerminal(process.stdout, process.env, options.json ?? false);
  try {
    const plan = planPorts(options.portBase ?? defaultPortBase);
    using dataDir = await openDataDir(options.dataDir ?? join(packageRoot, ".legion"));
    await slowStep(terminal.screen, "waiting for the remains of a killed legion to leave", clearOrphans(dataDir));
    await checkPorts(plan);
    const traces = await findTraces(process.env);
    // Also for ourselves, who send the demo task.
    Object.assign(process.env, traces?.env);
    const mesh = new LocalMesh({ plan, dataDir, screen: terminal.screen, env: process.env });
    await untilInterrupted(mesh, terminal, async (signal) => {
      const hasDemo = options.demo !== false;
      const client = hasDemo && traces !== undefined ? tracedClient() : Promise.resolve(runDemoTask);
      await mesh.start();
      const capabilities = hasDemo ? await mesh.startAgents() : [];
      if (hasDemo) {
        const demo = { run: await client, dispatcherHttpPort: mesh.httpPort("dispatcher"), traces };
        await showDemoTask(terminal.screen, demo, signal);
      }
      signal.throwIfAborted();
      tellReady(terminal, { plan, capabilities, database: mesh.databaseAddress, logs: dataDir.shortLogs, traces });
    });
    return 0;
  } catch (error) {
    if (error instanceof StartError) throw error;
    // Such as a database that does not start: what it says is for people already.
    throw new StartError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

async function tracedClient(): Promise<DemoClient> {
  const { tracedDemoClient } = await import("./demo-client.ts");
  return await tracedDemoClient();
}

/** Brings the mesh up, leaves it up until we are told to stop, and takes it down, also when it did not come up. */
async function untilInterrupted(
  mesh: LocalMesh,
  { screen, closed }: Terminal,
  bringUp: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const killAndExit = (): void => void mesh.kill().finally(() => process.exit(130));
  using interrupts = listenForInterrupts(process.env, killAndExit);
  const over = new AbortController();
  const told = Promise.race([interrupts.first, closed]).then(() => over.abort());
  const up = bringUp(over.signal);
  // Once we are told to stop, it fails in whatever it was about, and that is nobody's concern.
  up.catch(() => {});
  try {
    await Promise.race([told, up]);
    await told;
    screen.tell({ event: "stopping", text: "stopping (Ctrl-C again: at once)" });
  } finally {
    await mesh.stop();
  }
  screen.tell({ event: "stopped", text: "stopped" });
}
