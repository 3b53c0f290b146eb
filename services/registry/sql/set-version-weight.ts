import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

const statement = prepared<{ readonly weight_epoch: bigint }>(
  "set_version_weight",
  `with next as (
    update weight_epoch set value = value + 1
    where exists (select from versions where namespace = $1 and name = $2 and version = $3)
    returning value
  )
  update versions set weight = $4, weight_epoch = next.value from next
  where namespace = $1 and name = $2 and version = $3
  returning weight_epoch`,
);

/** @returns false when no agent of that name and version was ever seen. */
export async function setVersionWeight(
  pool: ConnectionPool,
  namespace: string,
  name: string,
  version: string,
  weight: number,
): Promise<boolean> {
  const rows = await pool.run(statement, [namespace, name, version, weight]);
  return rows.length > 0;
}
