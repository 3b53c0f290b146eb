import { int4Array, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

/** One bucket of a limit. */
export interface GateName {
  readonly namespace: string;
  readonly limit: string;
  readonly key: string;
}

const addGates = prepared(
  "add_gates",
  `
  insert into gates (namespace, limit_name, bucket_key)
  select * from unnest($1::text[], $2::text[], $3::text[]) as u (namespace, limit_name, bucket_key)
  order by namespace collate "C", limit_name collate "C", bucket_key collate "C"
  on conflict do nothing`,
);

// Locks in the order in which all who change several gates do.
const useGates = prepared<{ ord: number; gate_key: number }>(
  "use_gates",
  `
  with named as materialized (
    select g.gate_key, u.ord
    from unnest($1::text[], $2::text[], $3::text[]) with ordinality as u (namespace, limit_name, bucket_key, ord)
    join gates g using (namespace, limit_name, bucket_key)
  ), locked as materialized (
    select gate_key from gates where gate_key in (select gate_key from named) order by gate_key for no key update
  ), used as (
    update gates g set use_time = now() from locked l where g.gate_key = l.gate_key returning g.gate_key
  )
  select ord::int4, gate_key::float8 from named join used using (gate_key)`,
);

/** The keys of gates, each of them made if need be and noted as used. Names must differ. */
export async function gateKeys(pool: ConnectionPool, names: readonly GateName[]): Promise<number[]> {
  const params = [
    textArray(names.map(({ namespace }) => namespace)),
    textArray(names.map(({ limit }) => limit)),
    textArray(names.map(({ key }) => key)),
  ];
  // One that was unused for very long may be deleted between the two.
  for (;;) {
    await pool.run(addGates, params);
    const rows = await pool.run(useGates, params);
    if (rows.length === names.length) return rows.toSorted((a, b) => a.ord - b.ord).map((row) => row.gate_key);
  }
}

export interface LaneParts {
  /** 0: of any route. */
  readonly routeKey: number;
  /** Gate keys in ascending order. */
  readonly rateGates: readonly number[];
  readonly slotGates: readonly number[];
}

const addLanes = prepared<{ lane_key: number; lane: string }>(
  "add_lanes",
  `
  insert into lanes (route_key, rate_gates, slot_gates)
  select route_key, rate_gates::int8[], slot_gates::int8[]
  from unnest($1::int4[], $2::text[], $3::text[]) as u (route_key, rate_gates, slot_gates)
  order by route_key, slot_gates::int8[], rate_gates::int8[]
  on conflict (route_key, slot_gates, rate_gates) do update set use_time = now()
  returning lane_key::float8, route_key || rate_gates::text || slot_gates::text as lane`,
);

export const laneName = ({ routeKey, rateGates, slotGates }: LaneParts): string =>
  `${routeKey}{${rateGates.join(",")}}{${slotGates.join(",")}}`;

/** The keys of lanes by their names, each of them made if need be and noted as used. They must differ. */
export async function laneKeys(pool: ConnectionPool, lanes: readonly LaneParts[]): Promise<Map<string, number>> {
  const rows = await pool.run(addLanes, [
    int4Array(lanes.map(({ routeKey }) => routeKey)),
    textArray(lanes.map(({ rateGates }) => `{${rateGates.join(",")}}`)),
    textArray(lanes.map(({ slotGates }) => `{${slotGates.join(",")}}`)),
  ]);
  return new Map(rows.map(({ lane, lane_key }) => [lane, lane_key]));
}

const forgetLanes = prepared(
  "forget_lanes",
  `
  delete from lanes l where use_time < now() - $1 * interval '1 ms'
    and not exists (select from heads x where x.lane_key = l.lane_key)
    and not exists (select from parked x where x.lane_key = l.lane_key)
    and not exists (select from queue x where x.lane_key = l.lane_key)
    and not exists (select from leases x where x.lane_key = l.lane_key)
    and not exists (select from scheduled x where x.lane_key = l.lane_key)
    and not exists (select from notes x where x.lane_key = l.lane_key)`,
);
const forgetGates = prepared(
  "forget_gates",
  `
  delete from gates g where use_time < now() - $1 * interval '1 ms' and pause_until < now()
    and not exists (select from lanes l where l.rate_gates || l.slot_gates @> array[g.gate_key])`,
);

/** Forgets lanes without tasks, and gates without lanes, that nobody asked for in `unusedMs`. */
export async function forgetUnused(pool: ConnectionPool, unusedMs: number): Promise<void> {
  await pool.run(forgetLanes, [unusedMs]);
  await pool.run(forgetGates, [unusedMs]);
}
