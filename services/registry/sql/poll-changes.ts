import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

export type TakeoverKind = "fenced" | "expired" | "moved";

export interface Takeover {
  readonly sessionId: string;
  readonly epoch: bigint;
  readonly kind: TakeoverKind;
  /** The session was this Registry's. */
  readonly mine: boolean;
  /** A Dispatcher knows that the session is over. */
  readonly told: boolean;
}

export interface DrainRequest {
  readonly sessionId: string;
  readonly reason: string;
}

export interface WeightChange {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly weight: number;
  readonly weightEpoch: bigint;
}

export interface Rest {
  readonly namespace: string;
  readonly agentId: string;
  /** 0: it is over. */
  readonly restMs: number;
  readonly epoch: bigint;
}

export interface Changes {
  readonly takeovers: Takeover[];
  readonly drains: DrainRequest[];
  readonly weights: WeightChange[];
  readonly rests: Rest[];
}

interface Row {
  readonly what: "takeover" | "drain" | "weight" | "rest";
  readonly a: string;
  readonly b: string;
  readonly c: string;
  readonly number: number;
  readonly epoch: bigint;
}

// One statement, because every replica asks it twice a second.
const statement = prepared<Row>(
  "poll_changes",
  `(select 'takeover' as what, session_id::text as a, kind as b, '' as c,
           (registry_id = $1::text::uuid)::int4 + 2 * told::int4 as number, epoch
    from takeovers
    where registry_id = $1::text::uuid
       or (not told and kind <> 'moved' and take_time < now() - $3 * interval '1 millisecond')
    limit 1000)
   union all
   select 'drain', session_id::text, drain_reason, '', 0, epoch
   from sessions where registry_id = $1::text::uuid and drain_pending
   union all
   select 'weight', namespace, name, version, weight, weight_epoch
   from versions where weight_epoch > $2
   union all
   select 'rest', namespace, agent_id, '', greatest(0, extract(epoch from rest_until - now()) * 1000)::int4, epoch
   from ejections where epoch > $2`,
);

/**
 * What others did that concerns this Registry: sessions of its own that were taken, and anybody's that were taken more than
 * `graceMs` ago without their holder having told; drains that operators asked for; weights changed, and agents told to rest, since `weightEpoch`.
 */
export async function pollChanges(
  pool: ConnectionPool,
  registryId: string,
  weightEpoch: bigint,
  graceMs: number,
): Promise<Changes> {
  const rows = await pool.run(statement, [registryId, weightEpoch, graceMs]);
  const changes: Changes = { takeovers: [], drains: [], weights: [], rests: [] };
  for (const { what, a, b, c, number, epoch } of rows) {
    switch (what) {
      case "takeover":
        changes.takeovers.push({
          sessionId: a,
          epoch,
          kind: b as TakeoverKind,
          mine: (number & 1) !== 0,
          told: (number & 2) !== 0,
        });
        break;
      case "drain":
        changes.drains.push({ sessionId: a, reason: b });
        break;
      case "weight":
        changes.weights.push({ namespace: a, name: b, version: c, weight: number, weightEpoch: epoch });
        break;
      case "rest":
        changes.rests.push({ namespace: a, agentId: b, restMs: number, epoch });
        break;
      default:
        throw new Error(`unknown change ${String(what satisfies never)}`);
    }
  }
  return changes;
}
