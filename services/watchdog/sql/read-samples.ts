import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import type { Sample, Subject } from "../core/sample.ts";

interface Row {
  sample_id: bigint;
  subject_id: number;
  namespace: string;
  agent_id: string;
  name: string;
  version: string;
  capability: string;
  duration_us: bigint;
  failed: boolean;
  memory_before_bytes: bigint | null;
  memory_after_bytes: bigint | null;
  heap_after_collection_bytes: bigint | null;
  end_time: Date | null;
}

export interface StoredSample extends Sample {
  readonly sampleId: bigint;
  readonly subject: Subject;
}

const columns = `s.sample_id, s.subject_id, s.duration_us, s.failed, s.memory_before_bytes, s.memory_after_bytes,
  s.heap_after_collection_bytes, s.end_time, u.namespace, u.agent_id, u.name, u.version, u.capability`;

const page = prepared<Row>(
  "read-samples",
  `select ${columns}
   from (select * from samples where sample_id > $1 order by sample_id limit $2) s
   cross join lateral (select * from subjects where subject_id = s.subject_id offset 0) u
   order by s.sample_id`,
);

/** The samples after one, oldest first. */
export async function readSamples(pool: ConnectionPool, afterId: bigint, limit: number): Promise<StoredSample[]> {
  return (await pool.run(page, [afterId, limit])).map(fromRow);
}

const ofAgent = prepared<Row>(
  "read-agent-samples",
  `select * from (
     select ${columns} from subjects u
     cross join lateral (
       select * from samples where subject_id = u.subject_id order by sample_id desc limit $3
     ) s
     where u.namespace = $1 and u.agent_id = $2
     order by s.sample_id desc limit $3
   ) newest order by sample_id`,
);

/** The last samples of an agent, oldest first. */
export async function readAgentSamples(
  pool: ConnectionPool,
  namespace: string,
  agentId: string,
  limit: number,
): Promise<StoredSample[]> {
  return (await pool.run(ofAgent, [namespace, agentId, limit])).map(fromRow);
}

const firstOfNewest = prepared<{ sample_id: bigint }>(
  "first-of-newest",
  "select sample_id from samples order by sample_id desc offset $1 limit 1",
);

/** The id of the sample that has `count` newer ones; undefined when there are fewer. */
export async function idBeforeNewest(pool: ConnectionPool, count: number): Promise<bigint | undefined> {
  return (await pool.run(firstOfNewest, [count]))[0]?.sample_id;
}

function fromRow(row: Row): StoredSample {
  const { namespace, name, version, capability } = row;
  return {
    sampleId: row.sample_id,
    subjectId: row.subject_id,
    subject: { namespace, agentId: row.agent_id, name, version, capability },
    durationMs: Number(row.duration_us) / 1_000,
    failed: row.failed,
    memoryBeforeBytes: Number(row.memory_before_bytes ?? 0),
    memoryAfterBytes: Number(row.memory_after_bytes ?? 0),
    heapAfterCollectionBytes: Number(row.heap_after_collection_bytes ?? 0),
    endTimeMs: row.end_time?.getTime(),
  };
}
