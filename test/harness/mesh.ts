import { join } from "node:path";
import { migrateAll } from "#libs/cli/dev/migrations.ts";
import { packageRoot } from "#libs/cli/dev/package-root.ts";
import { meshVariables } from "#libs/cli/dev/port-plan.ts";
import { planProcesses, type ServiceName, type Slot } from "./mesh-plan.ts";
import { MeshProcess } from "./mesh-process.ts";
import { testDatabase } from "./postgres.ts";
import { waitFor } from "./wait-for.ts";

export { serviceNames, type ServiceName } from "./mesh-plan.ts";

export interface MeshOptions {
  /** For all processes, on top of this process's own. */
  readonly env?: NodeJS.ProcessEnv;
  /** Processes of each service. Default 1. */
  readonly replicas?: Partial<Record<ServiceName, number>>;
  /** Whether the demo agents (`greet`, `wordcount`, `sleep`, `fail`) run, in one process named `agents`. Default false. */
  readonly agents?: boolean;
  /** Default: a database of its own on the Postgres of `testDatabase()`. Bring an embedded one to kill it. */
  readonly postgres?: { readonly connectionString: string };
}

/**
 * A mesh of real processes on free ports, ready for tasks. Processes are named `registry`, `dispatcher`, `ratelimit`,
 * `watchdog`, further replicas `registry-2` and so on. They leave when this process ends, however it ends.
 */
export async function startMesh(options: MeshOptions = {}): Promise<Mesh> {
  await using cleanUp = new AsyncDisposableStack();
  let connectionString = options.postgres?.connectionString;
  const [, slots] = await Promise.all([
    (async () => {
      connectionString ??= cleanUp.use(await testDatabase()).connectionString;
      await migrateAll(connectionString);
    })(),
    planProcesses(options.replicas ?? {}),
  ]);
  const env = {
    ...process.env,
    BIND_HOST: "127.0.0.1",
    DATABASE_URL: connectionString,
    ...meshVariables(slots.map(({ service, grpcPort }) => ({ name: service, grpcPort }))),
    ...options.env,
  };
  const mesh = new Mesh(env, slots, cleanUp.move());
  await using undo = new AsyncDisposableStack();
  undo.use(mesh);
  await Promise.all([...mesh.processes.values()].map((process) => process.start()));
  // A Registry is ready before it has reached the Dispatcher.
  await waitFor(async () => (await mesh.health()) !== "unhealthy", { describe: "a Registry at the Dispatcher" });
  if (options.agents) await mesh.startAgents();
  undo.move();
  return mesh;
}

export class Mesh implements AsyncDisposable {
  /** The environment of a process that uses the mesh: DATABASE_URL, LEGION_REGISTRY and so on, and what the test added. */
  readonly env: NodeJS.ProcessEnv;
  readonly processes = new Map<string, MeshProcess>();
  readonly #cleanUp: AsyncDisposableStack;

  constructor(env: NodeJS.ProcessEnv, slots: readonly Slot[], cleanUp: AsyncDisposableStack) {
    this.env = env;
    this.#cleanUp = cleanUp;
    for (const { service, name, grpcPort, httpPort } of slots) {
      const main = join(packageRoot, "services", service, "main.ts");
      const ports = { GRPC_PORT: String(grpcPort), HTTP_PORT: String(httpPort) };
      this.processes.set(name, new MeshProcess({ name, main, grpcPort, httpPort, env: { ...env, ...ports } }));
    }
  }

  get registry(): MeshProcess {
    return this.process("registry");
  }

  get dispatcher(): MeshProcess {
    return this.process("dispatcher");
  }

  get ratelimit(): MeshProcess {
    return this.process("ratelimit");
  }

  get watchdog(): MeshProcess {
    return this.process("watchdog");
  }

  get databaseUrl(): string {
    return this.env["DATABASE_URL"] ?? "";
  }

  process(name: string): MeshProcess {
    const process = this.processes.get(name);
    if (process === undefined)
      throw new Error(`No process ${name}; there are ${[...this.processes.keys()].join(", ")}.`);
    return process;
  }

  /** Sends a signal, by default SIGKILL; of one that ends the process, the end is waited for. */
  kill(name: string, signal?: NodeJS.Signals): Promise<void> {
    return this.process(name).kill(signal);
  }

  /** Starts a process again on the same ports, stopping it first if it runs; resolves when it is ready. */
  restart(name: string): Promise<void> {
    return this.process(name).restart();
  }

  /** What a process printed, over all its runs. */
  logs(name: string): readonly string[] {
    return this.process(name).lines;
  }

  /** Starts the demo agents as the process `agents`, unless they run; resolves when they have a session. */
  async startAgents(): Promise<void> {
    const main = join(packageRoot, "libs", "agent", "demo", "main.ts");
    const made = new MeshProcess({ name: "agents", main, grpcPort: 0, httpPort: 0, env: this.env });
    const agents = this.processes.get("agents") ?? made;
    this.processes.set("agents", agents);
    const before = await this.activeAgents();
    if (!agents.isRunning) agents.spawn();
    await waitFor(async () => (await this.activeAgents()) > before, {
      describe: () => `a session of the demo agents; they said:\n${agents.lines.slice(-20).join("\n")}`,
    });
  }

  /** How many agents have a session. */
  async activeAgents(): Promise<number> {
    const address = `${this.registry.httpAddress}/legion.registry.v1.RegistryService/ListAgents`;
    const { activeAgents = 0 } = await post<{ activeAgents?: number }>(address);
    return activeAgents;
  }

  /** What the Dispatcher says of the whole: healthy, degraded or unhealthy. */
  async health(): Promise<string> {
    const address = `${this.dispatcher.httpAddress}/legion.dispatcher.v1.DispatcherService/GetHealth`;
    return (await post<{ status: string }>(address)).status;
  }

  /** Stops all processes, agents first; the database stays until disposal. */
  async stop(): Promise<void> {
    await this.processes.get("agents")?.stop();
    await Promise.all([...this.processes.values()].map((process) => process.stop()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.processes.values()].map((process) => process.kill("SIGKILL")));
    await this.#cleanUp.disposeAsync();
  }
}

async function post<T>(address: string): Promise<T> {
  const response = await fetch(address, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  return (await response.json()) as T;
}
