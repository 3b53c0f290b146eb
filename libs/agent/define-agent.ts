import type { StandardSchemaV1 } from "@standard-schema/spec";
import { LegionAgent } from "./agent.ts";
import type { CapabilityDeclaration, JsonSchema } from "./capability.ts";
import type { TaskData } from "./json.ts";
import type { AgentOptions } from "./options.ts";
import type { Handler } from "./runner.ts";
import type { TaskContext } from "./task-context.ts";

/** What a handler is given: the output of its schema; any object where there is none, or a plain JSON Schema. */
export type DataOf<Output> = unknown extends Output ? TaskData : Output;

/** A capability with its own bound or schema; see `CapabilityDeclaration`. `Output` is the schema's. */
export interface CapabilityDefinition<Output = unknown> {
  readonly input?: StandardSchemaV1<unknown, Output> | JsonSchema;
  readonly slots?: number;
  readonly execute: (data: DataOf<Output>, context: TaskContext) => unknown;
}

/** `Outputs` are the outputs of the capabilities' schemas, by name; inferred. */
export interface AgentDefinition<Outputs> extends Omit<AgentOptions, "capabilities" | "name"> {
  readonly name: string;
  readonly capabilities: { readonly [Name in keyof Outputs]: CapabilityDefinition<Outputs[Name]> | Handler };
}

/**
 * An agent from its capabilities alone:
 *
 * ```ts
 * const agent = defineAgent({
 *   name: "greeter",
 *   capabilities: {
 *     greet: { input: z.object({ name: z.string() }), execute: ({ name }) => ({ greeting: `Hello, ${name}!` }) },
 *     echo: (data) => data,
 *   },
 * });
 * await agent.start();
 * ```
 */
export function defineAgent<Outputs extends Record<string, any>>(definition: AgentDefinition<Outputs>): LegionAgent {
  return new DefinedAgent(definition as AgentDefinition<Record<string, any>>);
}

class DefinedAgent extends LegionAgent {
  readonly #handlers: ReadonlyMap<string, Handler>;

  constructor({ capabilities, ...options }: AgentDefinition<Record<string, any>>) {
    const declarations: CapabilityDeclaration[] = [];
    const handlers: [string, Handler][] = [];
    for (const [name, given] of Object.entries(capabilities)) {
      if (typeof given === "function") {
        declarations.push({ name });
        handlers.push([name, given]);
      } else {
        const { input, slots, execute } = given;
        declarations.push({ name, ...(input !== undefined && { input }), ...(slots !== undefined && { slots }) });
        handlers.push([name, execute]);
      }
    }
    super({ ...options, capabilities: declarations });
    this.#handlers = new Map(handlers);
  }

  override execute(data: TaskData, context: TaskContext): unknown {
    const handler = this.#handlers.get(context.capability);
    return handler === undefined ? super.execute(data, context) : handler(data, context);
  }
}
