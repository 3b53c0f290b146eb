import { LegionAgent } from "#libs/agent/index.ts";
import type { AgentOptions, CapabilityDeclaration, TaskContext, TaskData } from "#libs/agent/index.ts";

export type AgentHandler = (taskData: TaskData, context: TaskContext) => unknown;

/** Anything that does tasks: a LegionAgent that was not started, an object of that shape, or a function. */
export type AgentLike =
  | AgentHandler
  | { execute: AgentHandler; executeAsync?: AgentHandler }
  | { execute?: AgentHandler; executeAsync: AgentHandler };

export interface RegisterOptions extends Omit<AgentOptions, "agentId" | "capabilities"> {
  /** Aborting it before the agent is welcomed gives up. */
  readonly signal?: AbortSignal;
}

/** Runs what it was given under an identity and with capabilities that somebody else chose. */
export class RegisteredAgent extends LegionAgent {
  readonly #run: AgentHandler;

  constructor(
    agentId: string,
    agent: AgentLike,
    capabilities: readonly (string | CapabilityDeclaration)[],
    options: AgentOptions,
  ) {
    super({ ...nameAndSizeOf(agent), ...options, agentId, capabilities });
    this.#run = handlerOf(agent);
  }

  override execute(taskData: TaskData, context: TaskContext): unknown {
    return this.#run(taskData, context);
  }
}

function handlerOf(agent: AgentLike): AgentHandler {
  if (typeof agent === "function") return agent;
  const { execute, executeAsync } = agent;
  if (executeAsync !== undefined) return (data, context) => executeAsync.call(agent, data, context);
  if (execute !== undefined) return (data, context) => execute.call(agent, data, context);
  throw new TypeError("An agent is a function, or has an execute or executeAsync method.");
}

function nameAndSizeOf(agent: AgentLike): AgentOptions {
  if (agent instanceof LegionAgent) return { name: agent.name, version: agent.version, slots: agent.slots };
  return { name: (typeof agent === "function" ? agent.name : agent.constructor.name) || "agent" };
}
