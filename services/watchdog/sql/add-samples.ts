import { boolArray, int4Array, int8Array, textArray, timestamptzArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import type { Sample } from "../core/sample.ts";

export interface NewSample extends Sample {
  /** Index of its batch in `batchIds`; -1: it always counts. */
  readonly batch: number;
  /** Milliseconds since 1970; undefined: unknown. */
  readonly endTimeMs: number | undefined;
}

const statement = prepared<{ batch_id: string }>(
  "add-samples",
  // One statement of all replicas at a time: samples become visible in the order of their ids, and whoever has read up to one
  // has missed none.
  `with turn as materialized (select pg_advisory_xact_lock(4702)),
   fresh as (
     insert into batches (batch_id) select * from unnest($1::text[]) on conflict do nothing returning batch_id
   ),
   numbered as (
     select g.i from unnest($1::text[]) with ordinality as g (batch_id, i) join fresh f on f.batch_id = g.batch_id
   ),
   added as (
     insert into samples (
       subject_id, duration_us, failed, memory_before_bytes, memory_after_bytes, heap_after_collection_bytes, end_time
     )
     select s.subject_id, s.duration_us, s.failed, nullif(s.before, 0), nullif(s.after, 0), nullif(s.heap, 0), s.end_time
     from unnest(
       $2::int4[], $3::int4[], $4::int8[], $5::bool[], $6::int8[], $7::int8[], $8::int8[], $9::timestamptz[]
     ) as s (batch, subject_id, duration_us, failed, before, after, heap, end_time)
     cross join turn
     where s.batch < 0 or s.batch + 1 in (select i from numbered)
   )
   select batch_id from fresh`,
);

/**
 * Stores samples, in their order, in one transaction: those of no batch, and those of batches that were not stored before.
 * Returns these. `batchIds` are distinct and sorted, the same way by all replicas.
 */
export async function addSamples(
  pool: ConnectionPool,
  batchIds: readonly string[],
  samples: readonly NewSample[],
): Promise<Set<string>> {
  const rows = await pool.run(statement, [
    textArray(batchIds),
    int4Array(samples.map(({ batch }) => batch)),
    int4Array(samples.map(({ subjectId }) => subjectId)),
    int8Array(samples.map(({ durationMs }) => Math.round(durationMs * 1_000))),
    boolArray(samples.map(({ failed }) => failed)),
    int8Array(samples.map(({ memoryBeforeBytes }) => memoryBeforeBytes)),
    int8Array(samples.map(({ memoryAfterBytes }) => memoryAfterBytes)),
    int8Array(samples.map(({ heapAfterCollectionBytes }) => heapAfterCollectionBytes)),
    timestamptzArray(samples.map(({ endTimeMs }) => endTimeMs)),
  ]);
  return new Set(rows.map(({ batch_id }) => batch_id));
}
