import { boolArray, int8Array, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

/** What became of a session that this Registry holds, or held. */
export interface SessionState {
  readonly namespace: string;
  readonly agentId: string;
  readonly sessionId: string;
  readonly epoch: bigint;
  readonly suspended: boolean;
  readonly draining: boolean;
  /** The session is over, for this reason. */
  readonly endReason: string | undefined;
}

// Rows of another epoch are somebody else's by now, or gone.
const statement = prepared(
  "save_sessions",
  `with said as (
    select * from unnest($2::text[], $3::text[], $4::text[], $5::int8[], $6::bool[], $7::bool[], $8::text[])
      as t(namespace, agent_id, session_id, epoch, suspended, draining, end_reason)
  ),
  held as (
    select s.namespace, s.agent_id, s.session_id, t.suspended, t.draining, t.end_reason
    from sessions s join said t on s.namespace = t.namespace and s.agent_id = t.agent_id
    where s.session_id = t.session_id::uuid and s.epoch = t.epoch and s.registry_id = $1::text::uuid
    order by s.namespace, s.agent_id
    for update of s
  ),
  gone as (
    delete from sessions s using held h
    where s.namespace = h.namespace and s.agent_id = h.agent_id and h.end_reason is not null
  ),
  changed as (
    update sessions s set suspended = h.suspended, draining = s.draining or h.draining,
                          drain_pending = s.drain_pending and not h.draining
    from held h
    where s.namespace = h.namespace and s.agent_id = h.agent_id and h.end_reason is null
  )
  update agents a set disconnect_time = now(), disconnect_reason = h.end_reason
  from held h
  where a.namespace = h.namespace and a.agent_id = h.agent_id and a.session_id = h.session_id and h.end_reason is not null`,
);

/** Writes down the newest state of sessions; a session no more than once in a call. */
export async function saveSessions(
  pool: ConnectionPool,
  registryId: string,
  states: readonly SessionState[],
): Promise<void> {
  await pool.run(statement, [
    registryId,
    textArray(states.map((state) => state.namespace)),
    textArray(states.map((state) => state.agentId)),
    textArray(states.map((state) => state.sessionId)),
    int8Array(states.map((state) => state.epoch)),
    boolArray(states.map((state) => state.suspended)),
    boolArray(states.map((state) => state.draining)),
    textArray(states.map((state) => state.endReason)),
  ]);
}
