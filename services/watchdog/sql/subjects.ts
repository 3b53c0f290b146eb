import { textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import type { Subject } from "../core/sample.ts";

interface Row {
  subject_id: number;
  namespace: string;
  agent_id: string;
  name: string;
  version: string;
  capability: string;
}

const statement = prepared<Row>(
  "subjects",
  `insert into subjects (namespace, agent_id, name, version, capability)
   select namespace, agent_id, name, version, capability
   from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
     as given (namespace, agent_id, name, version, capability)
   -- One order for all replicas: two that add the same subjects do not wait for each other in a circle.
   order by namespace collate "C", agent_id collate "C", name collate "C", version collate "C", capability collate "C"
   on conflict (namespace, agent_id, name, version, capability) do update set seen_time = now()
   returning subject_id, namespace, agent_id, name, version, capability`,
);

export interface KeptSubject {
  readonly id: number;
  readonly subject: Subject;
}

/** Subjects with their ids, in no order, and that they were seen now. Each is given at most once. */
export async function keepSubjects(pool: ConnectionPool, subjects: readonly Subject[]): Promise<KeptSubject[]> {
  const rows = await pool.run(statement, [
    textArray(subjects.map(({ namespace }) => namespace)),
    textArray(subjects.map(({ agentId }) => agentId)),
    textArray(subjects.map(({ name }) => name)),
    textArray(subjects.map(({ version }) => version)),
    textArray(subjects.map(({ capability }) => capability)),
  ]);
  return rows.map(({ subject_id, agent_id, ...names }) => ({
    id: subject_id,
    subject: { agentId: agent_id, ...names },
  }));
}
