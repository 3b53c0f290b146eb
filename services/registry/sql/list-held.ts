import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export interface HeldRow {
  readonly namespace: string;
  readonly agent_id: string;
  readonly session_id: string;
  readonly epoch: bigint;
}

const statement = prepared<HeldRow>(
  "list_held",
  "select namespace, agent_id, session_id, epoch from sessions where registry_id = $1::text::uuid",
);

/** The rows that say that this Registry holds a session. */
export async function listHeld(pool: ConnectionPool, registryId: string): Promise<HeldRow[]> {
  return await pool.run(statement, [registryId]);
}
