/** Agents, and how many executions of each were seen. */
export type ColdStartsState = readonly (readonly [agentId: string, executions: number])[];

/** The first of an agent: connections, caches, compilers. */
const coldExecutions = 3;
const mostAgents = 256;

/** Knows which executions are the first of an agent: a canary's agents are always the newer ones. */
export class ColdStarts {
  readonly #executions: Map<string, number>;

  constructor(state: ColdStartsState = []) {
    this.#executions = new Map(state);
  }

  /** Asked once for each execution. */
  isCold(agentId: string): boolean {
    const before = this.#executions.get(agentId) ?? 0;
    if (before === coldExecutions) return false;
    this.#executions.set(agentId, before + 1);
    if (this.#executions.size > mostAgents) this.#executions.delete(this.#executions.keys().next().value!);
    return true;
  }

  toJSON(): ColdStartsState {
    return [...this.#executions];
  }
}
