import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import type { AgentTotals } from "./list-agents.ts";

const statement = prepared<AgentTotals>(
  "count_all_agents",
  "select (select count(*) from agents)::int4 as total, (select count(*) from sessions)::int4 as active",
);

/** How many agents there are in all namespaces. */
export async function countAllAgents(pool: ConnectionPool): Promise<AgentTotals> {
  const [row] = await pool.run(statement);
  return row ?? { total: 0, active: 0 };
}
