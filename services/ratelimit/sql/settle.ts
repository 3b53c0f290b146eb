import { boolArray, int4Array, int8Array, textArray } from "#libs/db/binary-array.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { prepared } from "#libs/db/statement.ts";

/** What spending from a lease really cost. */
export interface LeasedCost {
  readonly limit: string;
  readonly key: string;
  readonly reserved: bigint;
  readonly actual: bigint;
  /** 0: unknown. */
  readonly leaseId: bigint;
}

export interface RealCost {
  readonly namespace: string;
  readonly reservationId: string;
  readonly release: boolean;
  readonly costs: readonly { readonly unit: string; readonly amount: bigint }[];
  readonly adjustments: readonly LeasedCost[];
}

const statement = prepared<{ settled: number }>(
  "settle",
  `select settle($1::text[], $2::text[], $3::bool[], $4::int4[], $5::text[], $6::int8[],
     $7::int4[], $8::text[], $9::text[], $10::int8[], $11::int8[], $12::int8[], $13) as settled`,
);

/** Returns how many were not settled before. Each reservation at most once. */
export async function settle(pool: ConnectionPool, items: readonly RealCost[], nowUs?: bigint): Promise<number> {
  const costs = items.flatMap((item) => item.costs);
  const adjustments = items.flatMap((item, index) => item.adjustments.map((each) => ({ ...each, of: index + 1 })));
  const firstCosts = [1];
  for (const item of items) firstCosts.push(firstCosts.at(-1)! + item.costs.length);
  const [row] = await pool.run(statement, [
    textArray(items.map(({ namespace }) => namespace)),
    textArray(items.map(({ reservationId }) => reservationId)),
    boolArray(items.map(({ release }) => release)),
    int4Array(firstCosts),
    textArray(costs.map(({ unit }) => unit)),
    int8Array(costs.map(({ amount }) => amount)),
    int4Array(adjustments.map(({ of }) => of)),
    textArray(adjustments.map(({ limit }) => limit)),
    textArray(adjustments.map(({ key }) => key)),
    int8Array(adjustments.map(({ reserved }) => reserved)),
    int8Array(adjustments.map(({ actual }) => actual)),
    int8Array(adjustments.map(({ leaseId }) => leaseId)),
    nowUs,
  ]);
  return row!.settled;
}
