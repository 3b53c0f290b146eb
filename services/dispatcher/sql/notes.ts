import { int8Array } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";
import { afterDeadlocks } from "./deadlock.ts";

/** One bucket that counted the task of a note. */
export interface NoteGate {
  readonly limit: string;
  readonly key: string;
  /** Of a concurrency limit. */
  readonly isSlot: boolean;
}

export interface NoteRow {
  readonly note_key: number;
  readonly namespace: string;
  readonly task_id: string;
  /** 0: the task never began. */
  readonly attempt: number;
  readonly costs: Buffer | null;
  /** How much longer the pause lasts; null: none was asked for. */
  readonly pause_ms: number | null;
  readonly pause_limit: string;
  readonly spec: Buffer;
  /** In the order of `spent`: those of rates first. */
  readonly gates: NoteGate[];
  readonly spent: bigint[] | null;
}

const claim = prepared<NoteRow>(
  "claim_notes",
  `
  with due as materialized (
    select note_key from notes where claim_until <= now() order by claim_until, note_key limit $1 for update skip locked
  ), mine as (
    update notes n set claim_until = now() + $2 * interval '1 ms' from due d where n.note_key = d.note_key returning n.*
  )
  select m.note_key::float8, t.namespace, t.task_id, m.attempt, m.costs,
    extract(epoch from m.pause_until - now())::float8 * 1000 as pause_ms, m.pause_limit, t.spec, coalesce((
      select jsonb_agg(jsonb_build_object(
        'limit', g.limit_name, 'key', g.bucket_key, 'isSlot', g.gate_key = any(l.slot_gates)
      ) order by u.ord)
      from unnest(l.rate_gates || l.slot_gates) with ordinality as u (gate_key, ord) join gates g using (gate_key)
    ), '[]') as gates, m.spent
  from mine m
  cross join lateral (select rate_gates, slot_gates from lanes where lane_key = m.lane_key offset 0) l
  cross join lateral (
    select namespace, task_id, spec from tasks where segment = m.segment and task_key = m.task_key offset 0
  ) t
  order by m.note_key`,
);

/** Takes notes to deliver, oldest first; who does not delete them within `claimMs` leaves them to the next. */
export function claimNotes(pool: ConnectionPool, limit: number, claimMs: number): Promise<NoteRow[]> {
  return pool.run(claim, [limit, claimMs]);
}

const putBack = prepared(
  "put_notes_back",
  "update notes set claim_until = now() + $2 * interval '1 ms' where note_key = any($1::int8[])",
);

/** Leaves notes that were claimed to whoever claims next, not before that long. */
export async function putNotesBack(pool: ConnectionPool, noteKeys: readonly number[], restMs: number): Promise<void> {
  await pool.run(putBack, [int8Array(noteKeys), restMs]);
}

const remove = prepared("delete_notes", "delete from notes where note_key = any($1::int8[])");

export async function deleteNotes(pool: ConnectionPool, noteKeys: readonly number[]): Promise<void> {
  await pool.run(remove, [int8Array(noteKeys)]);
}

const pause = prepared<{ gate_key: number }>(
  "pause_gate",
  `
  update gates set pause_until = greatest(pause_until, now() + $4 * interval '1 ms')
  where namespace = $1 and limit_name = $2 and bucket_key = $3 returning gate_key::float8`,
);
const unpause = prepared<{ gate_key: number }>(
  "unpause_gate",
  `
  update gates set pause_until = '-infinity'
  where namespace = $1 and limit_name = $2 and bucket_key = $3 returning gate_key::float8`,
);
const wake = prepared(
  "wake_blocked",
  `
  update heads h set next_time = now()
  from (select lane_key from heads where blocked_by = $1 order by lane_key for no key update) b
  where h.lane_key = b.lane_key`,
);
const wakeAll = prepared(
  "wake_limit",
  `
  update heads h set next_time = now()
  from (
    select b.lane_key from heads b join gates g on g.gate_key = b.blocked_by
    where g.namespace = $1 and g.limit_name = $2 and g.pause_until <= now()
    order by b.lane_key for no key update of b
  ) x
  where h.lane_key = x.lane_key`,
);

/** Has all lanes tried now that a limit turned away, except where it is paused. */
export async function wakeLimit(pool: ConnectionPool, namespace: string, limit: string): Promise<void> {
  await pool.run(wakeAll, [namespace, limit]);
}

const returnQueued = prepared<{ gate_key: number }>(
  "return_queued",
  `
  select g::float8 as gate_key from return_queued(
    array(select lane_key from lanes where rate_gates || slot_gates @> array[$1::int8]), now() + $2 * interval '1 ms', $1
  ) as g`,
);

/**
 * Lets nothing pass a bucket for that long, and parks what of it was queued. Ends a pause with 0.
 * @returns gates of concurrency limits that got slots back and that somebody waits for.
 */
export async function pauseGate(
  pool: ConnectionPool,
  { namespace, limit, key }: { namespace: string; limit: string; key: string },
  pauseMs: number,
): Promise<number[]> {
  if (pauseMs <= 0) {
    const [ended] = await pool.run(unpause, [namespace, limit, key]);
    if (ended !== undefined) await pool.run(wake, [ended.gate_key]);
    return [];
  }
  const [gate] = await pool.run(pause, [namespace, limit, key, pauseMs]);
  if (gate === undefined) return [];
  const rows = await afterDeadlocks(() => pool.run(returnQueued, [gate.gate_key, pauseMs]));
  return rows.map((row) => row.gate_key);
}
