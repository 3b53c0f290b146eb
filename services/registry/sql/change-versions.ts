import { boolArray, int4Array, textArray, timestamptzArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Session } from "#libs/db/session.ts";
import { prepared } from "#libs/db/statement.ts";
import { defaultPolicy, type Policy, type Stage, type VersionState } from "../core/rollout.ts";

interface Row {
  readonly version: string;
  readonly stage: Stage;
  readonly weight: number;
  readonly revision: bigint;
  readonly trial: number;
  readonly reason: string;
  readonly incident_id: string;
  readonly by_hand: boolean;
  readonly sessions: number;
  readonly first_seen_time: Date;
  readonly promote_time: Date | null;
  readonly now: Date;
}

// One decision about a name at a time, over all replicas.
const lock = prepared("lock_name", "select pg_advisory_xact_lock(hashtextextended($1 || e'\\n' || $2, 4701))");

const read = prepared<Row>(
  "read_versions",
  `select v.version, v.stage, v.weight, v.revision, v.trial, v.reason, v.incident_id, v.by_hand, v.first_seen_time,
          v.promote_time, now() as now, (
     select count(*)::int4 from agents a
     join sessions s on s.namespace = a.namespace and s.agent_id = a.agent_id
     where a.namespace = $1 and a.name = $2 and a.version = v.version and not s.draining
   ) as sessions
   from versions v where v.namespace = $1 and v.name = $2 order by v.version`,
);

const readPolicy = prepared<Policy & { stage_executions: number }>(
  "read_policy",
  "select kind, stages, stage_executions from policies where namespace = $1 and name = $2",
);

const write = prepared(
  "write_versions",
  `with next as (update weight_epoch set value = value + 1 returning value)
   update versions v set
     stage = t.stage, weight = t.weight, reason = t.reason, incident_id = t.incident_id, by_hand = t.by_hand,
     trial = t.trial, promote_time = t.promote_time,
     revision = v.revision + t.decided::int4,
     stage_time = case when v.stage <> t.stage or v.trial <> t.trial then now() else v.stage_time end,
     weight_epoch = case when v.weight <> t.weight then next.value else v.weight_epoch end
   from next, unnest($3::text[], $4::text[], $5::int4[], $6::text[], $7::text[], $8::bool[], $9::int4[],
                     $10::timestamptz[], $11::bool[])
     as t(version, stage, weight, reason, incident_id, by_hand, trial, promote_time, decided)
   where v.namespace = $1 and v.name = $2 and v.version = t.version`,
);

export interface NameState {
  readonly versions: readonly VersionState[];
  readonly policy: Policy;
  /** By Postgres's clock, milliseconds since 1970. */
  readonly nowMs: number;
}

/**
 * Decides about the versions of a name, and writes down what was decided: `decide` gets them as they are, and returns them as
 * they are to be, or anything else to change nothing.
 */
export async function changeVersions<T>(
  pool: ConnectionPool,
  namespace: string,
  name: string,
  decide: (state: NameState) => VersionState[] | T,
  also: (session: Session) => Promise<void> = async () => {},
): Promise<{ readonly answer: VersionState[] | T; readonly changed: boolean }> {
  return await pool.transaction(async (session) => {
    await session.run(lock, [namespace, name]);
    const rows = await session.run(read, [namespace, name]);
    const [policy] = await session.run(readPolicy, [namespace, name]);
    const versions = rows.map(toState);
    const nowMs = rows[0]?.now.getTime() ?? 0;
    const answer = decide({ versions, policy: policy ? toPolicy(policy) : defaultPolicy, nowMs });
    if (!Array.isArray(answer)) return { answer, changed: false };
    const before = new Map(versions.map((one) => [one.version, one]));
    const changed = answer.filter((one) => !isSame(one, before.get(one.version)));
    if (changed.length > 0) await session.run(write, writeParams(namespace, name, changed, before));
    await also(session);
    return { answer, changed: changed.length > 0 };
  });
}

function writeParams(
  namespace: string,
  name: string,
  changed: readonly VersionState[],
  before: ReadonlyMap<string, VersionState>,
): unknown[] {
  const texts = (pick: (one: VersionState) => string) => textArray(changed.map(pick));
  return [
    namespace,
    name,
    texts(({ version }) => version),
    texts(({ stage }) => stage),
    int4Array(changed.map(({ weight }) => weight)),
    texts(({ reason }) => reason),
    texts(({ incidentId }) => incidentId),
    boolArray(changed.map(({ byHand }) => byHand)),
    int4Array(changed.map(({ trial }) => trial)),
    timestamptzArray(changed.map(({ promotedMs }) => promotedMs)),
    boolArray(changed.map(({ version, revision }) => revision !== before.get(version)?.revision)),
  ];
}

function isSame(a: VersionState, b: VersionState | undefined): boolean {
  return b !== undefined && a.revision === b.revision && a.weight === b.weight;
}

function toState(row: Row): VersionState {
  const { version, stage, weight, revision, trial, reason, sessions } = row;
  return {
    version,
    stage,
    weight,
    revision,
    trial,
    reason,
    sessions,
    incidentId: row.incident_id,
    byHand: row.by_hand,
    firstSeenMs: row.first_seen_time.getTime(),
    promotedMs: row.promote_time?.getTime(),
  };
}

function toPolicy({ kind, stages, stage_executions: stageExecutions }: Policy & { stage_executions: number }): Policy {
  return { kind, stages, stageExecutions };
}
