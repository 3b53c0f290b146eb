import { AgentProcess } from "./agent-process.ts";
import { endpointVariables, type Endpoints } from "./endpoints.ts";
import type { LanguageName, Programs } from "./language.ts";

export interface Member {
  readonly language: LanguageName;
  readonly programs: Programs;
}

/** Agents of several languages that offer the same capabilities, each killed and started again as a test says. */
export class Fleet implements AsyncDisposable {
  readonly agentIds: readonly string[];
  readonly #members: ReadonlyMap<string, Member>;
  readonly #variables: Readonly<Record<string, string>>;
  readonly #running = new Map<string, AgentProcess>();
  readonly #ended: AgentProcess[] = [];

  /** @param size agents of each language. */
  constructor(members: readonly Member[], size: number, endpoints: Endpoints, capabilities: readonly string[]) {
    const named = members.flatMap((member) =>
      Array.from({ length: size }, (_, n) => [`${member.language}-${n + 1}`, member] as const),
    );
    this.#members = new Map(named);
    this.agentIds = [...this.#members.keys()];
    this.#variables = { ...endpointVariables(endpoints), CAPABILITIES: capabilities.join(",") };
  }

  async startAll(): Promise<void> {
    await Promise.all(this.agentIds.map((agentId) => this.#start(agentId)));
  }

  /** kill -9, and a new process under the same id; resolves when it has its session. */
  async replace(agentId: string): Promise<void> {
    const old = this.#running.get(agentId)!;
    await old[Symbol.asyncDispose]();
    this.#ended.push(old);
    await this.#start(agentId);
  }

  /** How many tasks agents of a language have completed, those of killed ones included. */
  completedBy(language: LanguageName): number {
    return this.#processes()
      .filter(({ agentId }) => this.#members.get(agentId)?.language === language)
      .flatMap((agent) => agent.all("end"))
      .filter(({ how }) => how === "completed").length;
  }

  /** Agents that were not killed and have ended all the same. */
  lost(): string[] {
    return [...this.#running.values()]
      .filter(({ exit }) => exit !== undefined)
      .map((agent) => `${agent.agentId} ended with ${agent.exit}:\n${agent.transcript()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running.values()].map((agent) => agent[Symbol.asyncDispose]()));
  }

  #processes(): AgentProcess[] {
    return [...this.#ended, ...this.#running.values()];
  }

  async #start(agentId: string): Promise<void> {
    const agent = new AgentProcess(agentId, this.#members.get(agentId)!.programs.agent, this.#variables);
    this.#running.set(agentId, agent);
    await agent.until("connected", 1, 30_000);
  }
}
