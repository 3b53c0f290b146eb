import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LegionCore } from "#libs/client/index.ts";
import { type Mesh, type MeshOptions, startMesh } from "../harness/mesh.ts";
import { MeshProcess } from "../harness/mesh-process.ts";
import { waitFor } from "../harness/wait-for.ts";

export interface Execution {
  readonly agentId: string;
  readonly taskId: string;
  readonly attempt: number;
}

/** A mesh, two agents in a process each that write down what they execute, and a client that gives them work. */
export class World implements AsyncDisposable {
  readonly mesh: Mesh;
  readonly core: LegionCore;
  readonly agents: readonly MeshProcess[];
  readonly #file: string;
  readonly #stack: AsyncDisposableStack;

  constructor(mesh: Mesh, core: LegionCore, agents: MeshProcess[], file: string, stack: AsyncDisposableStack) {
    this.mesh = mesh;
    this.core = core;
    this.agents = agents;
    this.#file = file;
    this.#stack = stack;
  }

  static async start(options: MeshOptions = {}): Promise<World> {
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), "legion-chaos-"));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const file = join(directory, "executions");
    writeFileSync(file, "");
    const mesh = stack.use(await startMesh(options));
    const agents = ["chaos-1", "chaos-2"].map((name) => {
      const env = { ...mesh.env, AGENT_ID: name, EXECUTIONS: file };
      const main = join(import.meta.dirname, "fixtures/agent.ts");
      const agent = new MeshProcess({ name, main, grpcPort: 0, httpPort: 0, env });
      mesh.processes.set(name, agent);
      agent.spawn();
      return agent;
    });
    const { LEGION_DISPATCHER: dispatcher = "" } = mesh.env;
    const core = stack.use(new LegionCore({ dispatcher, maxOutstanding: 2_000 }));
    const world = new World(mesh, core, agents, file, stack.move());
    await world.whenAgents(2);
    return world;
  }

  /** Waits until so many agents have a session. */
  async whenAgents(count: number): Promise<void> {
    await waitFor(async () => (await this.mesh.activeAgents()) === count, {
      timeoutMs: 20_000,
      describe: () => `${count} agents; they said:\n${this.agents.flatMap(({ lines }) => lines.slice(-10)).join("\n")}`,
    });
  }

  /** All executions begun of the load of that name, in their order. */
  executions(load: string): Execution[] {
    return readFileSync(this.#file, "utf8")
      .split("\n")
      .map((line) => line.split(" "))
      .filter(([, taskId]) => taskId?.startsWith(`${load}-`))
      .map(([agentId = "", taskId = "", attempt]) => ({ agentId, taskId, attempt: Number(attempt) }));
  }

  /** Kills one and starts it again at once. */
  async killAndRestart(name: string): Promise<void> {
    await this.mesh.kill(name);
    await this.mesh.restart(name);
  }

  /** Waits until the mesh calls itself healthy again, with all its agents. */
  async whenHealthy(agents = 2): Promise<void> {
    let seen: unknown;
    await waitFor(
      async () => {
        const health = await this.core.healthCheck();
        seen = health;
        return health.status === "healthy" && health.agents === agents;
      },
      { timeoutMs: 20_000, describe: () => `a healthy mesh; it says ${JSON.stringify(seen)}` },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
