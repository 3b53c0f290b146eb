import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

const statement = prepared<{ readonly ended: number }>(
  "sweep_sessions",
  `with dead as (
    select registry_id from instances where expire_time < now() for update skip locked
  ),
  orphans as (
    select s.namespace, s.agent_id, s.session_id, s.epoch, s.registry_id
    from sessions s
    where s.registry_id in (select registry_id from dead)
       or not exists (select from instances i where i.registry_id = s.registry_id)
    order by s.namespace, s.agent_id
    limit $1
    for update of s skip locked
  ),
  ended as (
    delete from sessions s using orphans o where s.namespace = o.namespace and s.agent_id = o.agent_id
    returning o.*
  ),
  told as (
    insert into takeovers (session_id, epoch, registry_id, kind, take_time)
    select session_id, epoch + 1, registry_id, 'expired', '-infinity' from ended
  ),
  known as (
    update agents a set disconnect_time = now(), disconnect_reason = 'its Registry was lost and it did not come back'
    from ended e
    where a.namespace = e.namespace and a.agent_id = e.agent_id and a.session_id = e.session_id
  ),
  buried as (
    delete from instances where registry_id in (select registry_id from dead)
      and (select count(*) from orphans) < $1
  )
  select count(*)::int4 as ended from ended`,
);

/**
 * Ends sessions whose Registry has let its own lease run out, at most `limit` at a time.
 * @returns how many.
 */
export async function sweepSessions(pool: ConnectionPool, limit: number): Promise<number> {
  const [row] = await pool.run(statement, [limit]);
  return row?.ended ?? 0;
}
