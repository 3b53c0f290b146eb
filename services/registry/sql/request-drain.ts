import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

const statement = prepared<{ readonly registry_id: string | null }>(
  "request_drain",
  `with asked as (
    update sessions set draining = true, drain_reason = $3, drain_pending = true
    where namespace = $1 and agent_id = $2
    returning registry_id
  )
  select (select registry_id from asked) from agents where namespace = $1 and agent_id = $2`,
);

/**
 * Marks an agent's session as draining, for the Registry that holds it to see.
 * @returns that Registry; null when the agent has no session, undefined when it was never seen.
 */
export async function requestDrain(
  pool: ConnectionPool,
  namespace: string,
  agentId: string,
  reason: string,
): Promise<string | null | undefined> {
  const [row] = await pool.run(statement, [namespace, agentId, reason]);
  return row?.registry_id;
}
