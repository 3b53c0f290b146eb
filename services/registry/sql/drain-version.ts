import type { Session } from "#libs/db/session.ts";
import { prepared } from "#libs/db/statement.ts";

export interface DrainVersion {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly reason: string;
  /** Of the live sessions of the name, in percent, this many drain at once at most, but one at least. */
  readonly maxShare: number;
}

interface Row {
  readonly registry_ids: string[];
  readonly remaining: number;
}

// A session that drains for longer than half a minute finishes something long: the next ones do not wait for it. Sessions that
// began after the version was barred are of agents that came back: they were told, and stay, with nothing to do.
const statement = prepared<Row>(
  "drain_version",
  `with live as (
    select s.namespace, s.agent_id, s.registry_id, s.draining, a.version, a.connect_time,
           s.draining and s.drain_time > now() - interval '30 seconds' as leaving
    from agents a join sessions s on s.namespace = a.namespace and s.agent_id = a.agent_id
    where a.namespace = $1 and a.name = $2
  ),
  room as (
    select greatest(1, count(*) * $5::int4 / 100) - count(*) filter (where leaving) as free from live
  ),
  left_over as (
    select l.namespace, l.agent_id from live l
    join versions v on v.namespace = $1 and v.name = $2 and v.version = $3
    where l.version = $3 and not l.draining and l.connect_time <= v.stage_time
  ),
  chosen as (
    select s.namespace, s.agent_id from sessions s
    where (s.namespace, s.agent_id) in (
      select namespace, agent_id from left_over order by agent_id limit (select greatest(0, free) from room)
    )
    order by s.namespace, s.agent_id for update
  ),
  told as (
    update sessions s set draining = true, drain_reason = $4, drain_pending = true, drain_time = now()
    from chosen c where s.namespace = c.namespace and s.agent_id = c.agent_id
    returning s.registry_id
  )
  select coalesce((select array_agg(distinct registry_id::text) from told), '{}') as registry_ids,
         ((select count(*) from left_over) - (select count(*) from told))::int4 as remaining`,
);

/**
 * Tells sessions of a barred version to drain.
 * @returns the Registries that hold them, and how many are still to be told.
 */
export async function drainVersion(
  session: Session,
  { namespace, name, version, reason, maxShare }: DrainVersion,
): Promise<{ readonly registryIds: readonly string[]; readonly remaining: number }> {
  const [row] = await session.run(statement, [namespace, name, version, reason, maxShare]);
  return { registryIds: row?.registry_ids ?? [], remaining: row?.remaining ?? 0 };
}

const weigh = prepared(
  "weigh_barred",
  `with next as (update weight_epoch set value = value + 1 returning value)
   update versions set weight = $4, weight_epoch = next.value from next
   where namespace = $1 and name = $2 and version = $3 and weight <> $4 and stage = 'barred'`,
);

/** The weight of a barred version: 0, or 1 while sessions are to be told. */
export async function weighBarred(session: Session, { namespace, name, version }: DrainVersion, weight: 0 | 1) {
  await session.run(weigh, [namespace, name, version, weight]);
}
