import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

const register = prepared<{ instance_key: number }>(
  "register_instance",
  `
  insert into instances (instance_id, expire_time) values ($1, now() + $2 * interval '1 ms')
  returning instance_key`,
);

export async function registerInstance(pool: ConnectionPool, instanceId: string, leaseMs: number): Promise<number> {
  const [row] = await pool.run(register, [instanceId, leaseMs]);
  return row!.instance_key;
}

const renew = prepared<{ live: number }>(
  "renew_instance",
  `
  with renewed as (
    insert into instances (instance_key, instance_id, expire_time)
    overriding system value
    values ($1, $2, now() + $3 * interval '1 ms')
    on conflict (instance_key) do update set expire_time = excluded.expire_time
  )
  select 1 + count(*)::int4 as live from instances where expire_time > now() and instance_key <> $1`,
);

/** Renews the one lease that all leases of this instance's sessions hang on. Returns how many instances are live. */
export async function renewInstance(
  pool: ConnectionPool,
  instance: { instanceKey: number; instanceId: string },
  leaseMs: number,
): Promise<number> {
  const [row] = await pool.run(renew, [instance.instanceKey, instance.instanceId, leaseMs]);
  return row!.live;
}

const remove = prepared(
  "remove_instance",
  `
  delete from instances
  where (instance_key = $1 or expire_time < now() - interval '1 minute')
    and not exists (select from leases l where l.instance_key = instances.instance_key)`,
);

/**
 * Removes an instance that ends in order, and those that are long gone, as far as they hold nothing: what they hold is left
 * alone until their lease has run out, so that its sessions can find another home.
 */
export async function removeInstance(pool: ConnectionPool, instanceKey: number): Promise<void> {
  await pool.run(remove, [instanceKey]);
}
