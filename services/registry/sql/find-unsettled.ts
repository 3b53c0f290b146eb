import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import type { Stage, VersionState } from "../core/rollout.ts";

interface Row {
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly stage: Stage;
  readonly weight: number;
  readonly live: boolean;
  readonly first_seen_time: Date;
  readonly promote_time: Date | null;
}

// A name with one version needs no look: its weight is the same with sessions and without.
const statement = prepared<Row>(
  "versions_side_by_side",
  `select v.namespace, v.name, v.version, v.stage, v.weight, v.first_seen_time, v.promote_time, exists (
     select from agents a join sessions s on s.namespace = a.namespace and s.agent_id = a.agent_id
     where a.namespace = v.namespace and a.name = v.name and a.version = v.version and not s.draining
   ) as live
   from versions v
   where (v.namespace, v.name) in (
     select namespace, name from versions group by namespace, name having count(*) > 1 or bool_or(stage = 'new')
   )`,
);

export interface NameVersions {
  readonly namespace: string;
  readonly name: string;
  /** Of `sessions` only whether there are any is told. */
  readonly versions: VersionState[];
}

/** The names with several versions. */
export async function versionsSideBySide(pool: ConnectionPool): Promise<NameVersions[]> {
  const rows = await pool.run(statement);
  const names = Map.groupBy(rows, ({ namespace, name }) => `${namespace}\n${name}`);
  return [...names.values()].map((of) => ({
    namespace: of[0]!.namespace,
    name: of[0]!.name,
    versions: of.map(({ version, stage, weight, live, first_seen_time, promote_time }) => ({
      version,
      stage,
      weight,
      sessions: live ? 1 : 0,
      firstSeenMs: first_seen_time.getTime(),
      promotedMs: promote_time?.getTime(),
      revision: 0n,
      trial: 0,
      reason: "",
      incidentId: "",
      byHand: false,
    })),
  }));
}
