import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { agentColumns, type AgentRow, agentSource } from "./agent-row.ts";

const statement = prepared<AgentRow>(
  "get_agent",
  `select ${agentColumns} from ${agentSource} where a.namespace = $1 and a.agent_id = $2`,
);

export async function getAgent(
  pool: ConnectionPool,
  namespace: string,
  agentId: string,
): Promise<AgentRow | undefined> {
  const [row] = await pool.run(statement, [namespace, agentId]);
  return row;
}
