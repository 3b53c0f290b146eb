import { int4Array } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { defaultPolicy, type Policy } from "../core/rollout.ts";

export interface NamedPolicy extends Policy {
  readonly name: string;
}

const list = prepared<{ name: string; kind: Policy["kind"]; stages: number[]; stage_executions: number }>(
  "list_policies",
  "select name, kind, stages, stage_executions from policies where namespace = $1 and ($2 = '' or name = $2) order by name limit 1000",
);

/** Those that were set; an empty name stands for all. */
export async function listPolicies(pool: ConnectionPool, namespace: string, name: string): Promise<NamedPolicy[]> {
  const rows = await pool.run(list, [namespace, name]);
  return rows.map(({ stage_executions: stageExecutions, ...policy }) => ({ ...policy, stageExecutions }));
}

const save = prepared(
  "save_policy",
  `insert into policies (namespace, name, kind, stages, stage_executions) values ($1, $2, $3, $4::int4[], $5)
   on conflict (namespace, name) do update set
     kind = excluded.kind, stages = excluded.stages, stage_executions = excluded.stage_executions`,
);
const forget = prepared("forget_policy", "delete from policies where namespace = $1 and name = $2");

export async function savePolicy(pool: ConnectionPool, namespace: string, policy: NamedPolicy): Promise<void> {
  const { name, kind, stages, stageExecutions } = policy;
  if (isDefault(policy)) await pool.run(forget, [namespace, name]);
  else await pool.run(save, [namespace, name, kind, int4Array(stages), stageExecutions]);
}

function isDefault({ kind, stages, stageExecutions }: Policy): boolean {
  const sameStages = stages.join() === defaultPolicy.stages.join();
  return kind === defaultPolicy.kind && sameStages && stageExecutions === defaultPolicy.stageExecutions;
}
