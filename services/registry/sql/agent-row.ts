/** One agent with its session, as `list-agents.ts` and `get-agent.ts` read it. */
export interface AgentRow {
  readonly namespace: string;
  readonly agent_id: string;
  readonly name: string;
  readonly version: string;
  readonly capabilities: unknown;
  readonly labels: unknown;
  readonly slots: number;
  readonly sdk: string;
  /** As in the proto's AgentState. */
  readonly state: number;
  readonly session_id: string;
  readonly connect_time: Date;
  readonly disconnect_time: Date | null;
  readonly disconnect_reason: string;
  readonly rest_until: Date | null;
}

// An agent whose Registry is gone is suspended, whatever its row says: it has a lease's time to come back.
export const agentColumns = `a.namespace, a.agent_id, a.name, a.version, a.capabilities, a.labels, a.slots, a.sdk,
  a.session_id, a.connect_time, a.disconnect_time, a.disconnect_reason, e.rest_until,
  case when s.session_id is null then 4
       when s.draining then 2
       when s.suspended or i.expire_time is null or i.expire_time < now() then 3
       else 1 end as state`;

export const agentSource = `agents a
  left join sessions s on s.namespace = a.namespace and s.agent_id = a.agent_id
  left join instances i on i.registry_id = s.registry_id
  left join ejections e on e.namespace = a.namespace and e.agent_id = a.agent_id and e.rest_until > now()`;
