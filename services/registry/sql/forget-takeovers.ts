import { int8Array, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

type Key = { readonly sessionId: string; readonly epoch: bigint };

const forget = prepared(
  "forget_takeovers",
  `delete from takeovers t using unnest($1::text[], $2::int8[]) as d(session_id, epoch)
   where t.session_id = d.session_id::uuid and t.epoch = d.epoch`,
);

const told = prepared(
  "takeovers_told",
  `update takeovers t set told = true from unnest($1::text[], $2::int8[]) as d(session_id, epoch)
   where t.session_id = d.session_id::uuid and t.epoch = d.epoch`,
);

const purge = prepared(
  "purge_takeovers",
  `delete from takeovers t
   where (told or kind = 'moved')
     and not exists (select from instances i where i.registry_id = t.registry_id and i.expire_time > now())`,
);

/** Who held the sessions has seen it, and nothing is left to be told. */
export async function forgetTakeovers(pool: ConnectionPool, takeovers: readonly Key[]): Promise<void> {
  await pool.run(forget, parameters(takeovers));
}

/** A Dispatcher knows that the sessions are over; who held them may not know it yet. */
export async function takeoversTold(pool: ConnectionPool, takeovers: readonly Key[]): Promise<void> {
  await pool.run(told, parameters(takeovers));
}

/** Forgets what nobody is left to see. */
export async function purgeTakeovers(pool: ConnectionPool): Promise<void> {
  await pool.run(purge);
}

function parameters(takeovers: readonly Key[]): Buffer[] {
  return [textArray(takeovers.map(({ sessionId }) => sessionId)), int8Array(takeovers.map(({ epoch }) => epoch))];
}
