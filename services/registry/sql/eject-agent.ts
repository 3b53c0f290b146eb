import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export interface Ejection {
  readonly namespace: string;
  readonly agentId: string;
  readonly restMs: number;
  readonly reason: string;
  /** Empty: a person asks. */
  readonly incidentId: string;
  /** At most this share of the name's live agents rests at a time, in percent. 0: no bound. */
  readonly maxShare: number;
}

interface Row {
  readonly known: boolean;
  readonly allowed: boolean;
}

// Of one name one at a time, so that two which are each allowed are not too many together.
const lock = prepared(
  "lock_name_of_agent",
  `select pg_advisory_xact_lock(hashtextextended(
   $1 || e'\\n' || coalesce((select name from agents where namespace = $1 and agent_id = $2), ''), 4701))`,
);

const statement = prepared<Row>(
  "eject_agent",
  `with me as (select namespace, name, version from agents where namespace = $1 and agent_id = $2),
  peers as (
    select a.agent_id, a.version, e.rest_until is not null as resting
    from me
    join agents a on a.namespace = me.namespace and a.name = me.name
    join sessions s on s.namespace = a.namespace and s.agent_id = a.agent_id and not s.draining
    left join ejections e on e.namespace = a.namespace and e.agent_id = a.agent_id and e.rest_until > now()
    where a.agent_id <> $2
  ),
  allowed as (
    select $6::int4 = 0 or $3::int8 = 0
           or exists (select from ejections where namespace = $1 and agent_id = $2 and incident_id = $5 and $5 <> '')
           or ((select count(*) from peers where resting) + 1) * 100 <= (select count(*) + 1 from peers) * $6
              and exists (select from peers join me on me.version = peers.version where not resting) as yes
  ),
  next as (
    update weight_epoch set value = value + 1
    where exists (select from me) and (select yes from allowed)
    returning value
  ),
  ejected as (
    insert into ejections as e (namespace, agent_id, rest_until, reason, incident_id, epoch)
    select $1, $2, now() + $3::int8 * interval '1 millisecond', $4, $5, value from next
    on conflict (namespace, agent_id) do update set
      rest_until = excluded.rest_until, reason = excluded.reason, incident_id = excluded.incident_id, epoch = excluded.epoch
    -- The same incident again does not make it longer.
    where e.incident_id <> excluded.incident_id or excluded.incident_id = ''
  )
  select exists (select from me) as known, (select yes from allowed) as allowed`,
);

/** Lets an agent rest, from now. */
export async function ejectAgent(
  pool: ConnectionPool,
  { namespace, agentId, restMs, reason, incidentId, maxShare }: Ejection,
): Promise<"ejected" | "unknown" | "too many"> {
  const [row] = await pool.transaction(async (session) => {
    await session.run(lock, [namespace, agentId]);
    return await session.run(statement, [namespace, agentId, Math.round(restMs), reason, incidentId, maxShare]);
  });
  if (!row?.known) return "unknown";
  return row.allowed ? "ejected" : "too many";
}

const old = prepared("forget_ejections", "delete from ejections where rest_until < now() - interval '1 day'");

/** Those that were over a day ago. */
export async function forgetEjections(pool: ConnectionPool): Promise<void> {
  await pool.run(old);
}
