import { legionError } from "#libs/rpc/errors.ts";
import { SchemaError } from "#libs/schema/schema-error.ts";
import type { SchemaValidator, Violation } from "#libs/schema/schema-validator.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { capabilityName } from "../core/route.ts";
import { loadInputSchemas, saveInputSchema } from "../sql/input-schemas.ts";

/** The input schemas that agents declared last; they hold while no such agent is there, too. */
export class InputSchemas {
  readonly #pool: ConnectionPool;
  readonly #validator: SchemaValidator;
  #schemas = new Map<string, string>();

  constructor(pool: ConnectionPool, validator: SchemaValidator) {
    this.#pool = pool;
    this.#validator = validator;
  }

  /** Reads what other instances may have learned. */
  async refresh(): Promise<void> {
    const rows = await loadInputSchemas(this.#pool);
    this.#schemas = new Map(
      rows
        .filter((row) => row.input_schema !== "")
        .map((row) => [capabilityName(row.namespace, row.capability), row.input_schema]),
    );
  }

  /** What an agent of a capability declares; empty: it takes any object. */
  async declare(namespace: string, capability: string, inputSchema: string): Promise<void> {
    const name = capabilityName(namespace, capability);
    if ((this.#schemas.get(name) ?? "") === inputSchema) return;
    if (inputSchema === "") this.#schemas.delete(name);
    else this.#schemas.set(name, inputSchema);
    await saveInputSchema(this.#pool, { namespace, capability, inputSchema });
  }

  has(task: TaskSpec): boolean {
    return this.#schemas.size > 0 && this.#schemas.has(capabilityName(task.namespace, task.capability));
  }

  /** @throws ConnectError TASK_DATA_SCHEMA_MISMATCH with the path of each violation. */
  async check(task: TaskSpec): Promise<void> {
    const schema = this.#schemas.get(capabilityName(task.namespace, task.capability));
    if (schema === undefined) return;
    const violations = await this.#violations(schema, task.taskData?.data ?? emptyObject);
    const first = violations[0];
    if (first === undefined) return;
    const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
    throw legionError(
      "TASK_DATA_SCHEMA_MISMATCH",
      `task_data does not match the schema of '${task.capability}': ${first.path === "" ? "the object" : first.path} ${first.message}${more}.`,
      { violations: violations.map(({ path, message }) => ({ field: `task.task_data${path}`, description: message })) },
    );
  }

  async #violations(schema: string, data: Uint8Array): Promise<Violation[]> {
    try {
      return await this.#validator.validate(schema, data);
    } catch (error) {
      // Data that takes too long to check is refused like data that does not match.
      throw error instanceof SchemaError ? legionError(error.reason, error.message) : error;
    }
  }
}

const emptyObject = Buffer.from("{}");
