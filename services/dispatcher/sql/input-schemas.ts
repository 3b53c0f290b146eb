import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

const save = prepared(
  "save_schema",
  `
  insert into input_schemas (namespace, capability, input_schema) values ($1, $2, $3)
  on conflict (namespace, capability) do update set input_schema = excluded.input_schema
  where input_schemas.input_schema <> excluded.input_schema`,
);

/** Remembers the schema that agents declared last for a capability; empty: none. */
export async function saveInputSchema(
  pool: ConnectionPool,
  schema: { namespace: string; capability: string; inputSchema: string },
): Promise<void> {
  await pool.run(save, [schema.namespace, schema.capability, schema.inputSchema]);
}

const load = prepared<{ namespace: string; capability: string; input_schema: string }>(
  "load_schemas",
  "select namespace, capability, input_schema from input_schemas",
);

export function loadInputSchemas(
  pool: ConnectionPool,
): Promise<{ namespace: string; capability: string; input_schema: string }[]> {
  return pool.run(load);
}
