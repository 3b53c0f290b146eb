import { float8Array, int2Array, int4Array, int8Array } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { afterDeadlocks } from "./deadlock.ts";

export interface ClaimedLane {
  readonly lane_key: number;
  readonly turn: number;
  readonly route_key: number;
  readonly rate_gates: number[];
  readonly slot_gates: number[];
  /** Whether a live session of the mesh can run tasks of its route. True where that makes no difference. */
  readonly is_served: boolean;
}

const claim = prepared<ClaimedLane>(
  "claim_heads",
  `
  with wanted as materialized (
    (select lane_key from heads where next_time <= now() and claim_until <= now() order by next_time limit $2)
    union
    (select lane_key from heads where blocked_by = any($1::int8[]) and claim_until <= now() order by next_time limit $2)
  ), locked as materialized (
    select h.lane_key from heads h join wanted using (lane_key) where h.claim_until <= now()
    order by h.lane_key for no key update of h skip locked
  ), claimed as (
    update heads h set claim_until = now() + $3 * interval '1 ms', turn = nextval('turns')
    from locked k where h.lane_key = k.lane_key
    returning h.lane_key, h.turn
  )
  select c.lane_key::float8, c.turn::float8, l.route_key, l.rate_gates::float8[], l.slot_gates::float8[],
    l.route_key = 0 or exists (
      select from instances i where i.expire_time > now() and l.route_key = any(i.served)
    ) as is_served
  from claimed c join lanes l using (lane_key)`,
);

/** Takes lanes whose time has come, or that wait for a slot of one of `freed`, for `claimMs`: nobody else works on them. */
export function claimHeads(
  pool: ConnectionPool,
  freed: readonly number[],
  options: { limit: number; claimMs: number },
): Promise<ClaimedLane[]> {
  return pool.run(claim, [int8Array(freed), options.limit, options.claimMs]);
}

export interface ParkedRow {
  readonly lane_key: number;
  readonly rank: number;
  readonly task_key: number;
  readonly segment: number;
  readonly paid: boolean;
  readonly spec: Buffer;
}

const read = prepared<ParkedRow>(
  "read_parked",
  `
  select p.lane_key::float8, p.rank, p.task_key::float8, p.segment, p.paid, t.spec
  from unnest($1::int8[]) as u (lane_key)
  cross join lateral (
    select * from parked p where p.lane_key = u.lane_key order by p.rank, p.task_key limit $2
  ) p
  -- One by one: how many there will be is not known when this is planned, and a join would rather read all tasks.
  cross join lateral (select spec from tasks where segment = p.segment and task_key = p.task_key offset 0) t
  order by p.rank, p.task_key`,
);

/** The first tasks of each lane, at most `limit` of each: the highest priority first, then the oldest. */
export function readParked(pool: ConnectionPool, laneKeys: readonly number[], limit: number): Promise<ParkedRow[]> {
  return pool.run(read, [int8Array(laneKeys), limit]);
}

export interface GateRow {
  readonly gate_key: number;
  readonly namespace: string;
  readonly limit_name: string;
  readonly bucket_key: string;
  readonly held: number;
  /** How much longer it is paused; 0 or less: it is not. */
  readonly pause_ms: number;
}

const gates = prepared<GateRow>(
  "read_gates",
  `
  select gate_key::float8, namespace, limit_name, bucket_key, held,
    greatest(0, extract(epoch from nullif(pause_until, '-infinity') - now())::float8 * 1000) as pause_ms
  from gates where gate_key = any($1::int8[])`,
);

export function readGates(pool: ConnectionPool, gateKeys: readonly number[]): Promise<GateRow[]> {
  return pool.run(gates, [int8Array(gateKeys)]);
}

const end = prepared<{ moved_route: number; moved_rank: number; moved_task: number }>(
  "end_round",
  `
  select moved_route, moved_rank, moved_task::float8
  from end_round(
    $1::int8[], $2::int8[], $3::float8[], $4::int8[], $5::int8[], $6::int2[], $7::int8[], $8::int8[], $9::int4[], $10
  )`,
);

export interface RoundEnd {
  readonly lanes: readonly {
    readonly laneKey: number;
    readonly turn: number;
    /** Until it is tried again, milliseconds; less than 0: at once, or when there is a slot. */
    readonly delayMs: number;
    readonly blockedBy: number | null;
  }[];
  /** Those that may go on, in their order. */
  readonly tasks: readonly { readonly laneKey: number; readonly rank: number; readonly taskKey: number }[];
  /** How many slots a gate has; one that is not named has any number. */
  readonly maxima: readonly { readonly gateKey: number; readonly max: number }[];
  /** When to try again without being told that a slot is free. */
  readonly recheckMs: number;
}

/** Ends a round; returns what of its tasks went into the queue. */
export async function endRound(
  pool: ConnectionPool,
  { lanes, tasks, maxima, recheckMs }: RoundEnd,
): Promise<{ routeKey: number; rank: number; taskKey: number }[]> {
  const rows = await pool.run(end, [
    int8Array(lanes.map(({ laneKey }) => laneKey)),
    int8Array(lanes.map(({ turn }) => turn)),
    float8Array(lanes.map(({ delayMs }) => delayMs)),
    int8Array(lanes.map(({ blockedBy }) => blockedBy)),
    int8Array(tasks.map(({ laneKey }) => laneKey)),
    int2Array(tasks.map(({ rank }) => rank)),
    int8Array(tasks.map(({ taskKey }) => taskKey)),
    int8Array(maxima.map(({ gateKey }) => gateKey)),
    int4Array(maxima.map(({ max }) => max)),
    recheckMs,
  ]);
  return rows.map((row) => ({ routeKey: row.moved_route, rank: row.moved_rank, taskKey: row.moved_task }));
}

const next = prepared<{ delay_ms: number }>(
  "next_head",
  `
  select extract(epoch from greatest(next_time, claim_until) - now())::float8 * 1000 as delay_ms
  from heads order by next_time limit 1`,
);

/** Milliseconds until the next lane's time; undefined if nothing is parked. */
export async function nextHeadDelayMs(pool: ConnectionPool): Promise<number | undefined> {
  const [row] = await pool.run(next);
  return row?.delay_ms;
}

const serve = prepared("serve_routes", "update instances set served = $2::int4[] where instance_key = $1");

const unserved = prepared<{ gate_key: number }>(
  "return_unserved",
  `
  with lane as materialized (
    select distinct q.lane_key from queue q join lanes l using (lane_key)
    where q.lane_key is not null and l.route_key <> 0 and not exists (
      select from instances i where i.expire_time > now() and l.route_key = any(i.served)
    )
  )
  select g::float8 as gate_key
  from (select array_agg(lane_key) as lanes from lane having count(*) > 0) x, return_queued(x.lanes, now(), null) as g`,
);

/**
 * Parks what is queued with slots on routes that nobody serves any more.
 * @returns gates that got slots back and that somebody waits for.
 */
export async function returnUnserved(pool: ConnectionPool): Promise<number[]> {
  return (await afterDeadlocks(() => pool.run(unserved))).map((row) => row.gate_key);
}

/** Says which routes an instance's sessions can run. */
export async function saveServed(pool: ConnectionPool, instanceKey: number, routeKeys: number[]): Promise<void> {
  await pool.run(serve, [instanceKey, int4Array(routeKeys)]);
}
