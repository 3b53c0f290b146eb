import { textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export interface SessionRow {
  readonly sessionId: string;
  readonly namespace: string;
  readonly agentId: string;
  readonly name: string;
  readonly version: string;
}

const upsert = prepared<{ session_key: number; session_id: string; is_new: boolean }>(
  "attach_sessions",
  `
  insert into sessions (session_id, namespace, agent_id, name, version)
  select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
  on conflict (session_id) do update set attach_time = now()
  returning session_key::float8, session_id, xmax = 0 as is_new`,
);

/** The keys of sessions, by id; `isNew` if this mesh never saw the session before, so that it can hold no lease. */
export async function attachSessions(
  pool: ConnectionPool,
  sessions: readonly SessionRow[],
): Promise<Map<string, { sessionKey: number; isNew: boolean }>> {
  const rows = await pool.run(upsert, [
    textArray(sessions.map((session) => session.sessionId)),
    textArray(sessions.map((session) => session.namespace)),
    textArray(sessions.map((session) => session.agentId)),
    textArray(sessions.map((session) => session.name)),
    textArray(sessions.map((session) => session.version)),
  ]);
  return new Map(rows.map((row) => [row.session_id, { sessionKey: row.session_key, isNew: row.is_new }]));
}
