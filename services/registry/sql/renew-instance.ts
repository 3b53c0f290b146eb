import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

const renew = prepared(
  "renew_instance",
  `insert into instances (registry_id, expire_time) values ($1::text::uuid, now() + $2 * interval '1 millisecond')
   on conflict (registry_id) do update set expire_time = excluded.expire_time`,
);

/** This Registry lives, and with it all sessions that it holds, for `leaseMs` from now. */
export async function renewInstance(pool: ConnectionPool, registryId: string, leaseMs: number): Promise<void> {
  await pool.run(renew, [registryId, leaseMs]);
}
