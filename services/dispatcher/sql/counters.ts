import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export interface Counters {
  readonly submitted: number;
  readonly dispatched: number;
  readonly completed: number;
  readonly failed: number;
  readonly canceled: number;
  readonly dead: number;
  /** Those that limits hold back included. */
  readonly queued: number;
  readonly parked: number;
  readonly scheduled: number;
  readonly leased: number;
  readonly total_agents: number;
}

const names = ["submitted", "dispatched", "completed", "failed", "canceled", "dead"];

const read = prepared<Counters>(
  "read_counters",
  `
  select ${names.map((name) => `(c.${name} + coalesce(x.${name}, 0))::float8 as ${name}`).join(", ")},
    (select count(*) from queue)::float8 + p.parked as queued,
    p.parked,
    (select count(*) from scheduled)::float8 as scheduled,
    (select count(*) from leases)::float8 as leased,
    c.total_agents::float8 as total_agents
  from counters c
  cross join (select count(*)::float8 as parked from parked) p
  cross join (select ${names.map((name) => `sum(${name}) as ${name}`).join(", ")} from counter_changes) x`,
);

export async function readCounters(pool: ConnectionPool): Promise<Counters> {
  const [row] = await pool.run(read);
  return row!;
}

const fold = prepared(
  "fold_counters",
  `
  with gone as (
    delete from counter_changes where ctid = any(array(select ctid from counter_changes limit 10000 for update skip locked))
    returning *
  ), total as (
    select ${names.map((name) => `coalesce(sum(${name}), 0) as ${name}`).join(", ")} from gone
  )
  update counters c set ${names.map((name) => `${name} = c.${name} + t.${name}`).join(", ")} from total t`,
);

/** Folds counted changes into the counters. */
export async function foldCounters(pool: ConnectionPool): Promise<void> {
  await pool.run(fold);
}

const saveAgents = prepared("save_total_agents", "update counters set total_agents = $1 where total_agents < $1");

/** Remembers how many agents were ever seen, for when no Registry is there to say it. */
export async function saveTotalAgents(pool: ConnectionPool, totalAgents: number): Promise<void> {
  await pool.run(saveAgents, [totalAgents]);
}
