import type { Acquisition } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { bucketKey } from "./bucket-key.ts";
import { type CountedLimit, keyValues, type LimitSet } from "./limit-set.ts";

export interface PlannedBucket {
  readonly stored: CountedLimit;
  readonly key: string;
}

export interface Check {
  readonly bucket: PlannedBucket;
  /** Tokens; at least 1. */
  readonly cost: bigint;
}

export const namespaceOf = (namespace: string): string => namespace || "default";

/** What an acquisition takes, and from which buckets. A limit in a unit that it costs nothing of is left out. */
export function checksOf(limits: LimitSet, acquisition: Acquisition): Check[] {
  const values = keyValues(acquisition);
  const checks: Check[] = [];
  for (const stored of limits.applying(namespaceOf(acquisition.namespace), values, acquisition.limits)) {
    const cost = costIn(stored.limit.unit, acquisition);
    if (cost > 0n) checks.push({ bucket: { stored, key: bucketKey(stored.limit.per, values) }, cost });
  }
  return checks;
}

/** The name of a limit that is asked for and does not exist. */
export function missingLimit(limits: LimitSet, { namespace, limits: names }: Acquisition): string | undefined {
  return names.find((name) => limits.find(namespaceOf(namespace), name) === undefined);
}

function costIn(unit: string, { costs }: Acquisition): bigint {
  // A task costs 1 task unless it says otherwise, and nothing in other units.
  return costs.findLast((cost) => cost.unit === unit)?.amount ?? (unit === "" ? 1n : 0n);
}

/** A batch of acquisitions as `acquire` in SQL takes it. */
export interface Plan {
  /** Each once, in the order in which every replica locks them. */
  readonly buckets: readonly PlannedBucket[];
  /** For each acquisition the number of its first check, counted from 1; at the end one past the last. */
  readonly firstChecks: readonly number[];
  /** For each check the number of its bucket, counted from 1. */
  readonly checkBuckets: readonly number[];
  readonly checkCosts: readonly bigint[];
  /** Empty when nothing is reserved; else for each acquisition. */
  readonly namespaces: readonly string[];
  readonly reservationIds: readonly (string | null)[];
  /** Empty when no call keeps its order; else for each acquisition the number of its call, 0 for one that does not. */
  readonly orders: readonly number[];
  /** For an acquisition whose reservation_id is that of an earlier one in the batch: its index. It takes nothing itself. */
  readonly repeats: ReadonlyMap<number, number>;
}

/** `orders`: see `Plan.orders`. */
export function planBatch(
  limits: LimitSet,
  acquisitions: readonly Acquisition[],
  orders: readonly number[] = [],
): Plan {
  const buckets = new Map<string, PlannedBucket & { number: number }>();
  const numbered: { number: number }[] = [];
  const firstChecks: number[] = [];
  const checkCosts: bigint[] = [];
  const reservations = new Map<string, number>();
  const repeats = new Map<number, number>();
  for (const [index, acquisition] of acquisitions.entries()) {
    firstChecks.push(checkCosts.length + 1);
    const { reservationId } = acquisition;
    if (reservationId !== "") {
      const name = `${namespaceOf(acquisition.namespace)}|${reservationId}`;
      const first = reservations.get(name);
      if (first !== undefined) {
        repeats.set(index, first);
        continue;
      }
      reservations.set(name, index);
    }
    for (const { bucket, cost } of checksOf(limits, acquisition)) {
      const name = `${bucket.stored.limitId}|${bucket.key}`;
      let known = buckets.get(name);
      if (known === undefined) buckets.set(name, (known = { ...bucket, number: 0 }));
      numbered.push(known);
      checkCosts.push(cost);
    }
  }
  firstChecks.push(checkCosts.length + 1);
  const sorted = [...buckets.values()].toSorted(inLockOrder);
  for (const [index, bucket] of sorted.entries()) bucket.number = index + 1;
  const reserves = reservations.size > 0;
  return {
    buckets: sorted,
    firstChecks,
    checkBuckets: numbered.map(({ number }) => number),
    checkCosts,
    namespaces: reserves ? acquisitions.map(({ namespace }) => namespaceOf(namespace)) : [],
    reservationIds: reserves
      ? acquisitions.map(({ reservationId }, index) => (repeats.has(index) ? null : reservationId || null))
      : [],
    orders,
    repeats,
  };
}

/** As SQL sorts by limit_id and key collate "C": by bytes, which for well-formed text is by code points. */
function inLockOrder(a: PlannedBucket, b: PlannedBucket): number {
  if (a.stored.limitId !== b.stored.limitId) return a.stored.limitId < b.stored.limitId ? -1 : 1;
  return a.key === b.key ? 0 : compareBytes(a.key, b.key);
}

function compareBytes(a: string, b: string): number {
  // Two UTF-16 strings compare as their UTF-8 does unless one has a surrogate where they differ, which is rare in keys.
  return hasSurrogate.test(a) || hasSurrogate.test(b) ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : a < b ? -1 : 1;
}

const hasSurrogate = /[\ud800-\udfff]/;
