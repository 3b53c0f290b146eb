import { int4Array, jsonbArray, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export interface Opening {
  readonly namespace: string;
  readonly agentId: string;
  readonly name: string;
  readonly version: string;
  /** JSON texts. */
  readonly capabilities: string;
  readonly labels: string;
  readonly slots: number;
  readonly sdk: string;
  /** What the session is called if it is a new one. */
  readonly freshId: string;
  /** The session the agent wants to go on with. */
  readonly resumeId: string | undefined;
}

export interface Opened {
  readonly sessionId: string;
  readonly epoch: bigint;
  /** The session asked for goes on. */
  readonly resumed: boolean;
  /** Who held the agent's session before; undefined if it had none. */
  readonly previousRegistryId: string | undefined;
  readonly previousSessionId: string | undefined;
  readonly draining: boolean;
  readonly drainReason: string;
  readonly weight: number;
  readonly weightEpoch: bigint;
  /** Nobody has decided about its version yet. */
  readonly isNewVersion: boolean;
  /** For how long the agent is to rest, in milliseconds; 0: not at all. */
  readonly restMs: number;
}

interface Row {
  readonly namespace: string;
  readonly agent_id: string;
  readonly session_id: string;
  readonly epoch: bigint;
  readonly previous_session_id: string | null;
  readonly previous_registry_id: string | null;
  readonly draining: boolean;
  readonly drain_reason: string;
  readonly weight: number;
  readonly weight_epoch: bigint;
  readonly is_new_version: boolean;
  readonly rest_ms: number;
}

// A row that is inserted, not updated, has no previous registry. All rows are locked in the order of their keys, so that two
// replicas never wait for each other.
const statement = prepared<Row>(
  "open_sessions",
  `with hello as (
    select * from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::jsonb[], $8::int4[], $9::text[],
                         $10::text[], $11::text[])
      as t(namespace, agent_id, name, version, capabilities, labels, slots, sdk, fresh_id, resume_id)
    order by namespace collate "C", agent_id collate "C"
  ),
  opened as (
    insert into sessions as s (namespace, agent_id, session_id, registry_id, epoch, asked_session_id)
    select namespace, agent_id, fresh_id::uuid, $1::text::uuid, 1, resume_id::uuid from hello
    on conflict (namespace, agent_id) do update set
      session_id = case when s.session_id = excluded.asked_session_id then s.session_id else excluded.session_id end,
      registry_id = excluded.registry_id,
      epoch = s.epoch + 1,
      suspended = false,
      draining = s.draining and coalesce(s.session_id = excluded.asked_session_id, false),
      drain_reason = case when s.session_id = excluded.asked_session_id then s.drain_reason else '' end,
      drain_pending = false,
      previous_session_id = s.session_id,
      previous_registry_id = s.registry_id,
      asked_session_id = excluded.asked_session_id
    -- Who asks for a session that another has replaced is the older one, come back. But an agent that was answered into a
    -- broken stream asks again for what it had asked for before.
    where excluded.asked_session_id is null or excluded.asked_session_id in (s.session_id, s.asked_session_id)
    returning s.*
  ),
  taken as (
    insert into takeovers (session_id, epoch, registry_id, kind)
    select previous_session_id, epoch, previous_registry_id,
           case when session_id = previous_session_id then 'moved' else 'fenced' end
    from opened
    where previous_registry_id <> $1::text::uuid
  ),
  known as (
    insert into agents as a (namespace, agent_id, name, version, capabilities, labels, slots, sdk, session_id, connect_time)
    select h.namespace, h.agent_id, h.name, h.version, h.capabilities, h.labels, h.slots, h.sdk, o.session_id, now()
    from hello h join opened o on o.namespace = h.namespace and o.agent_id = h.agent_id
    order by h.namespace collate "C", h.agent_id collate "C"
    on conflict (namespace, agent_id) do update set
      name = excluded.name, version = excluded.version, capabilities = excluded.capabilities, labels = excluded.labels,
      slots = excluded.slots, sdk = excluded.sdk, session_id = excluded.session_id,
      connect_time = case when a.session_id = excluded.session_id then a.connect_time else excluded.connect_time end,
      disconnect_time = null, disconnect_reason = ''
  ),
  seen as (
    insert into versions (namespace, name, version)
    select distinct namespace, name, version from hello order by 1, 2, 3
    on conflict do nothing
  )
  select o.namespace, o.agent_id, o.session_id, o.epoch, o.previous_session_id, o.previous_registry_id, o.draining,
         o.drain_reason, coalesce(v.weight, 100) as weight, coalesce(v.weight_epoch, 0) as weight_epoch,
         coalesce(v.stage, 'new') = 'new' as is_new_version,
         coalesce(extract(epoch from e.rest_until - now()) * 1000, 0)::float8 as rest_ms
  from hello h
  join opened o on o.namespace = h.namespace and o.agent_id = h.agent_id
  left join versions v on v.namespace = h.namespace and v.name = h.name and v.version = h.version
  left join ejections e on e.namespace = h.namespace and e.agent_id = h.agent_id and e.rest_until > now()`,
);

/**
 * Gives each agent its session: the one it asks for if it has that still, else a new one, which ends whatever it had.
 * Undefined for an agent that asks for a session which a newer one has replaced. No agent twice in one call.
 */
export async function openSessions(
  pool: ConnectionPool,
  registryId: string,
  openings: readonly Opening[],
): Promise<(Opened | undefined)[]> {
  const texts = (pick: (opening: Opening) => string | undefined) => textArray(openings.map(pick));
  const rows = await pool.run(statement, [
    registryId,
    texts((opening) => opening.namespace),
    texts((opening) => opening.agentId),
    texts((opening) => opening.name),
    texts((opening) => opening.version),
    jsonbArray(openings.map((opening) => opening.capabilities)),
    jsonbArray(openings.map((opening) => opening.labels)),
    int4Array(openings.map((opening) => opening.slots)),
    texts((opening) => opening.sdk),
    texts((opening) => opening.freshId),
    texts((opening) => opening.resumeId),
  ]);
  const byAgent = new Map(rows.map((row) => [`${row.namespace} ${row.agent_id}`, row]));
  return openings.map(({ namespace, agentId }) => toOpened(byAgent.get(`${namespace} ${agentId}`)));
}

function toOpened(row: Row | undefined): Opened | undefined {
  if (row === undefined) return undefined;
  const replaced = row.previous_registry_id !== null;
  return {
    sessionId: row.session_id,
    epoch: row.epoch,
    resumed: replaced && row.session_id === row.previous_session_id,
    previousRegistryId: row.previous_registry_id ?? undefined,
    previousSessionId: replaced ? (row.previous_session_id ?? undefined) : undefined,
    draining: row.draining,
    drainReason: row.drain_reason,
    weight: row.weight,
    weightEpoch: row.weight_epoch,
    isNewVersion: row.is_new_version,
    restMs: row.rest_ms,
  };
}
