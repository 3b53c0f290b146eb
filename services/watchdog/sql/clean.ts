import { int4Array } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

const trim = prepared<{ deleted: number }>(
  "trim-samples",
  `with oldest as materialized (
     select u.subject_id, (
       select s.sample_id from samples s where s.subject_id = u.subject_id order by s.sample_id desc offset $2 limit 1
     ) as sample_id
     from unnest($1::int4[]) as u (subject_id)
   ),
   gone as (
     -- By the ids and not by a join, which a plan made for an empty table turns inside out when the table is large.
     delete from samples where sample_id = any (array(
       select s.sample_id from oldest o cross join lateral (
         select x.sample_id from samples x where x.subject_id = o.subject_id and x.sample_id <= o.sample_id offset 0
       ) s
     )) returning 1
   )
   select count(*)::int4 as deleted from gone`,
);

/** Deletes all but the last `keep` samples of each subject and returns how many it deleted. */
export async function trimSamples(pool: ConnectionPool, subjectIds: readonly number[], keep: number): Promise<number> {
  const [row] = await pool.run(trim, [int4Array(subjectIds), keep]);
  return row!.deleted;
}

const forget = prepared<{ deleted: number }>(
  "forget-subjects",
  `with old as (
     select subject_id from subjects where seen_time < now() - make_interval(secs => $1) order by seen_time limit $2
     for update skip locked
   ),
   gone as (delete from subjects where subject_id = any (array(select subject_id from old))),
   samples_gone as (delete from samples where subject_id = any (array(select subject_id from old)))
   select count(*)::int4 as deleted from old`,
);

/** Deletes subjects that were last seen more than `ageMs` ago, with their samples, and returns how many. */
export async function forgetSubjects(pool: ConnectionPool, ageMs: number, maxSubjects: number): Promise<number> {
  const [row] = await pool.run(forget, [ageMs / 1_000, maxSubjects]);
  return row!.deleted;
}

const forgetBatchIds = prepared<{ deleted: number }>(
  "forget-batches",
  `with old as (
     select batch_id from batches where received_time < now() - make_interval(secs => $1)
     order by received_time limit $2 for update skip locked
   ),
   gone as (delete from batches where batch_id = any (array(select batch_id from old)))
   select count(*)::int4 as deleted from old`,
);

/** Deletes batch ids received more than `ageMs` ago and returns how many. */
export async function forgetBatches(pool: ConnectionPool, ageMs: number, maxBatches: number): Promise<number> {
  const [row] = await pool.run(forgetBatchIds, [ageMs / 1_000, maxBatches]);
  return row!.deleted;
}
