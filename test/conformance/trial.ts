import { randomBytes } from "node:crypto";
import type { DispatchOptions } from "#libs/client/index.ts";
import type { Agent } from "#libs/proto/legion/registry/v1/agent_pb.ts";
import { TestRegistry, type TestRegistryOptions } from "../agent/harness/test-registry.ts";
import { freePorts } from "../harness/free-ports.ts";
import { AgentProcess } from "./agent-process.ts";
import { type ClientResult, runClient } from "./client-process.ts";
import { type Endpoints, endpointVariables } from "./endpoints.ts";
import type { LanguageName, Programs } from "./language.ts";
import type { World } from "./world.ts";

/** Something that every agent, or client, must do. */
export interface Behaviour {
  /** Its row in the table: what the agent does, in a few words. */
  readonly name: string;
  run(trial: Trial): Promise<void>;
}

export const allCapabilities = ["echo", "sleep", "fail", "crash", "burn", "fill"];

export interface AgentSetting {
  /** Default: all. */
  readonly capabilities?: readonly string[];
  /** Default: one of its own. */
  readonly agentId?: string;
  /** Default: the mesh's. */
  readonly registry?: readonly string[];
  /** Whether to wait until it says that it is connected. Default true. */
  readonly connected?: boolean;
}

/** One trial of one behaviour: gives it agents, clients and tasks of its own, and leaves nothing behind. */
export class Trial implements AsyncDisposable {
  readonly language: LanguageName;
  readonly world: World;
  readonly #programs: Programs;
  readonly #stack = new AsyncDisposableStack();
  readonly #key = randomBytes(4).toString("hex");
  readonly #taskIds: string[] = [];
  #names = 0;

  constructor(language: LanguageName, programs: Programs, world: World) {
    this.language = language;
    this.#programs = programs;
    this.world = world;
  }

  /** A name that nobody else has. */
  name(of: string): string {
    return `${this.language}-${of}-${this.#key}-${++this.#names}`;
  }

  /** A task's id; at the trial's end the task is canceled if it is not finished. */
  taskId(of: string): string {
    const taskId = this.name(of);
    this.#taskIds.push(taskId);
    return taskId;
  }

  async agent(setting: AgentSetting = {}): Promise<AgentProcess> {
    const { capabilities = allCapabilities, agentId = this.name("agent"), connected = true } = setting;
    const variables = {
      ...this.#variables({ registry: setting.registry ?? this.world.endpoints.registry }),
      CAPABILITIES: capabilities.join(","),
    };
    const agent = this.#stack.use(new AgentProcess(agentId, this.#programs.agent, variables));
    if (connected) await agent.until("connected", 1);
    return agent;
  }

  /** Hands over a task and waits for its result. */
  async run(capability: string, data: object, options: DispatchOptions & { taskId?: string } = {}): Promise<unknown> {
    const { taskId = this.taskId(capability), ...rest } = options;
    return await this.world.core.dispatchTask(taskId, data, capability, { timeoutMs: 40_000, ...rest });
  }

  /** Hands over a task, and no more. */
  async submit(capability: string, data: object, options: DispatchOptions = {}) {
    return await this.world.core.dispatchTaskAsync(this.taskId(capability), data, capability, options);
  }

  client(given: readonly string[], { dispatcher }: { dispatcher?: readonly string[] } = {}): Promise<ClientResult> {
    const variables = this.#variables({ dispatcher: dispatcher ?? this.world.endpoints.dispatcher });
    return runClient(this.#programs.client, given, variables);
  }

  /** A Registry that does what the behaviour tells it, for what the real one does not do on demand. */
  async scriptedRegistry(options?: TestRegistryOptions): Promise<TestRegistry> {
    return this.#stack.use(await TestRegistry.start(options));
  }

  /** An address at which connections are refused. */
  async addressOfNobody(): Promise<string> {
    const [port] = await freePorts(1);
    return `127.0.0.1:${port}`;
  }

  /** Disposed of at the trial's end. */
  use<T extends AsyncDisposable>(resource: T): T {
    return this.#stack.use(resource);
  }

  /** The agent as the Registry lists it. */
  async listed({ agentId }: AgentProcess): Promise<Agent | undefined> {
    const { agents } = await this.world.registry.listAgents({ pageSize: 1_000 });
    return agents.find((agent) => agent.agentId === agentId);
  }

  /** Agents first, so that nobody begins what was left; and what was left is canceled for the next trial's sake. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    await Promise.allSettled(this.#taskIds.map((taskId) => this.world.core.cancelTask(taskId)));
  }

  #variables(endpoints: Partial<Endpoints>): Record<string, string> {
    return endpointVariables({ ...this.world.endpoints, ...endpoints });
  }
}
