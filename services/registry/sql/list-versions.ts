import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import type { Stage } from "../core/rollout.ts";

export interface VersionRow {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly weight: number;
  /** Those that drain included. */
  readonly sessions: number;
  readonly draining: number;
  readonly stage: Stage;
  readonly reason: string;
  readonly incident_id: string;
  readonly revision: bigint;
  readonly stage_time: Date;
  readonly by_hand: boolean;
  readonly trial: number;
  readonly first_seen_time: Date;
}

// `$3` empty: all versions.
const statement = prepared<VersionRow>(
  "list_versions",
  `select v.namespace, v.name, v.version, v.weight, v.first_seen_time, v.stage, v.reason, v.incident_id, v.revision,
          v.stage_time, v.by_hand, v.trial, coalesce(live.sessions, 0)::int4 as sessions,
          coalesce(live.draining, 0)::int4 as draining
   from versions v
   left join (
     select a.name, a.version, count(*) as sessions, count(*) filter (where s.draining) as draining
     from sessions s join agents a on a.namespace = s.namespace and a.agent_id = s.agent_id
     where s.namespace = $1 and ($2 = '' or a.name = $2)
     group by a.name, a.version
   ) live on live.name = v.name and live.version = v.version
   where v.namespace = $1 and ($2 = '' or v.name = $2) and ($3 = '' or v.version = $3)
   order by v.name, v.first_seen_time desc, v.version desc
   limit 1000`,
);

/** By name, then newest first; at most 1,000. An empty name or version stands for all. */
export async function listVersions(
  pool: ConnectionPool,
  namespace: string,
  name: string,
  version = "",
): Promise<VersionRow[]> {
  return await pool.run(statement, [namespace, name, version]);
}
