import { int4Array } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { agentColumns, type AgentRow, agentSource } from "./agent-row.ts";

export interface AgentFilter {
  readonly namespace: string;
  /** Empty: all. */
  readonly capability: string;
  /** Empty: all. */
  readonly states: readonly number[];
  /** Only agents whose id is greater. */
  readonly after: string;
  readonly limit: number;
}

const list = prepared<AgentRow>(
  "list_agents",
  `select * from (
    select ${agentColumns} from ${agentSource}
    where a.namespace = $1 and a.agent_id > $2 and ($3 = '' or a.capabilities @> jsonb_build_array(jsonb_build_object('name', $3)))
  ) agent
  where cardinality($4::int4[]) = 0 or state = any($4::int4[])
  order by agent_id limit $5`,
);

const count = prepared<{ readonly total: number; readonly active: number }>(
  "count_agents_of_namespace",
  `select (select count(*) from agents where namespace = $1)::int4 as total,
          (select count(*) from sessions where namespace = $1)::int4 as active`,
);

export async function listAgents(pool: ConnectionPool, filter: AgentFilter): Promise<AgentRow[]> {
  const { namespace, after, capability, states, limit } = filter;
  return await pool.run(list, [namespace, after, capability, int4Array(states), limit]);
}

export interface AgentTotals {
  readonly total: number;
  readonly active: number;
}

/** How many agents a namespace has, and how many of them have a session. */
export async function countAgents(pool: ConnectionPool, namespace: string): Promise<AgentTotals> {
  const [row] = await pool.run(count, [namespace]);
  return row ?? { total: 0, active: 0 };
}
