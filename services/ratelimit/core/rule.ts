import {
  type Bucket,
  type BucketLease,
  freshBucket,
  larger,
  leasedFrom,
  type Mark,
  smaller,
  timeOf,
} from "./bucket.ts";
import { spentAt, timeUntilSpent, type TokenRate, withRate, withSpent } from "./gcra.ts";
import { slotEnd, timeUntilUsed, usedAt, type WindowRule, withEntry, withoutCost } from "./window.ts";

/**
 * What a limit counts by. Postgres decides by the same rules, in one statement; here they answer questions that take nothing, and
 * say what the statements are tested against.
 */
export type Rule = TokenRate | WindowRule;

/** The most that it ever admits at once. */
export const capacityOf = (rule: Rule): bigint => (rule.kind === "tokens" ? rule.capacity / rule.token : rule.count);

/** Whole units that could be taken now if it were not paused. */
export function remaining(bucket: Bucket, rule: Rule, nowUs: bigint): bigint {
  const free =
    rule.kind === "tokens"
      ? (rule.capacity - spentAt(bucket, rule, nowUs)) / rule.token
      : rule.count - usedAt(bucket, rule, nowUs);
  return larger(0n, free);
}

/**
 * Microseconds until `cost` can be taken if nobody else comes and what is leased is kept until it expires; 0 for now, undefined
 * for never.
 */
export function waitUs(bucket: Bucket, rule: Rule, cost: bigint, nowUs: bigint): bigint | undefined {
  if (cost > capacityOf(rule)) return undefined;
  const wait =
    rule.kind === "tokens"
      ? timeUntilSpent(bucket, rule, rule.capacity - cost * rule.token, nowUs)
      : timeUntilUsed(bucket, rule, rule.count - cost, nowUs);
  return larger(wait, bucket.pauseUntilUs - nowUs);
}

/** Microseconds until it is as if never used. */
export function resetUs(bucket: Bucket, rule: Rule, nowUs: bigint): bigint {
  return rule.kind === "tokens" ? timeUntilSpent(bucket, rule, 0n, nowUs) : timeUntilUsed(bucket, rule, 0n, nowUs);
}

/** The bucket after `cost` was taken. Whether it may be is `waitUs` = 0. */
export function take(bucket: Bucket, rule: Rule, cost: bigint, nowUs: bigint): Bucket {
  return rule.kind === "tokens"
    ? withSpent(bucket, rule, cost * rule.token, nowUs)
    : withEntry(bucket, rule, { atUs: slotEnd(rule, timeOf(bucket, nowUs)), cost }, nowUs);
}

/** Ends the leases that have expired, the first first: all that they held counts as spent when they expired. */
export function withExpired(bucket: Bucket, rule: Rule, nowUs: bigint): Bucket {
  let current = bucket;
  for (const lease of bucket.leases) {
    if (lease.endUs > nowUs) break;
    current = endLease(current, rule, lease, 0n, lease.endUs, lease.endUs).bucket;
  }
  return current;
}

export interface Granted {
  readonly bucket: Bucket;
  readonly granted: bigint;
  /** Until one more is there; undefined when all that was wanted was granted. */
  readonly retryUs: bigint | undefined;
}

/** Leases at most `want`, and what there is. */
export function grant(
  bucket: Bucket,
  rule: Rule,
  want: bigint,
  lease: Pick<BucketLease, "leaseId" | "holderId" | "endUs">,
  nowUs: bigint,
): Granted {
  const granted = bucket.pauseUntilUs > nowUs ? 0n : smaller(want, remaining(bucket, rule, nowUs));
  let after = bucket;
  if (granted > 0n) {
    const taken = rule.kind === "tokens" ? take(bucket, rule, granted, nowUs) : bucket;
    const leases = [...bucket.leases, { ...lease, granted, grantedUs: nowUs }].toSorted(byEnd);
    after = { ...taken, atUs: timeOf(bucket, nowUs), leases };
  }
  return { bucket: after, granted, retryUs: granted === want ? undefined : waitUs(after, rule, 1n, nowUs) };
}

const byEnd = (a: BucketLease, b: BucketLease): number => (a.endUs < b.endUs ? -1 : a.endUs > b.endUs ? 1 : 0);

/**
 * Ends a lease of which `unspent` were not used, and the others at `lastUs` or before. The mark is for what it spent.
 */
export function endLease(
  bucket: Bucket,
  rule: Rule,
  lease: BucketLease,
  unspent: bigint,
  lastUs: bigint,
  nowUs: bigint,
): { readonly bucket: Bucket; readonly mark: Mark } {
  const spent = larger(0n, lease.granted - unspent);
  const leases = bucket.leases.filter((each) => each !== lease);
  if (rule.kind === "tokens") {
    const rested = { ...withSpent(bucket, rule, 0n, nowUs), leases };
    const after = withSpent(rested, rule, (spent - lease.granted) * rule.token, nowUs);
    return { bucket: after, mark: markOf(after, rule, nowUs) };
  }
  // Not before it was granted, and not in a time that the clock has yet to catch up with.
  const usedUs = bucket.atUs > nowUs ? bucket.atUs : smaller(nowUs, larger(lease.grantedUs, lastUs));
  const atUs = slotEnd(rule, usedUs);
  const after = withEntry({ ...bucket, leases }, rule, { atUs, cost: spent }, nowUs);
  return { bucket: after, mark: { markUs: atUs, shiftUs: 0n } };
}

/**
 * For what was just taken, so that it can be given back as far as it has not come back by itself. A token bucket refills what is not
 * leased in the order of its taking: the mark is when that reaches the end of it. Of a window it is what it is logged at.
 */
export function markOf(bucket: Bucket, rule: Rule, nowUs: bigint): Mark {
  const timeUs = timeOf(bucket, nowUs);
  const { shiftUs } = bucket;
  if (rule.kind === "window") return { markUs: slotEnd(rule, timeUs), shiftUs };
  return { markUs: timeUs + queued(bucket, rule, nowUs) / rule.refill + shiftUs, shiftUs };
}

const queued = (bucket: Bucket, rate: TokenRate, nowUs: bigint): bigint =>
  spentAt(bucket, rate, nowUs) - leasedFrom(bucket) * rate.token;

/** Charges `difference` more; or gives back as much of it as has not come back by itself since it was taken with that mark. */
export function settle(bucket: Bucket, rule: Rule, difference: bigint, mark: Mark, nowUs: bigint): Bucket {
  if (difference > 0n) return take(bucket, rule, difference, nowUs);
  if (rule.kind === "window") return withoutCost(bucket, rule, -difference, mark.markUs, nowUs);
  let behind = (mark.markUs - mark.shiftUs - timeOf(bucket, nowUs)) * rule.refill;
  // What was taken before it and given back after it was taken has brought it forward.
  for (const other of bucket.gaveBack) {
    if (other.shiftUs >= mark.shiftUs && other.markUs <= mark.markUs) behind -= other.grains;
  }
  const grains = smaller(smaller(behind, -difference * rule.token), queued(bucket, rule, nowUs));
  if (grains <= 0n) return bucket;
  const shiftUs = bucket.shiftUs + (grains + rule.refill - 1n) / rule.refill;
  const gaveBack = [...bucket.gaveBack, { markUs: mark.markUs, shiftUs: bucket.shiftUs, grains }];
  return { ...withSpent(bucket, rule, -grains, nowUs), shiftUs, gaveBack };
}

/** Gives back what was spent from a lease that is still out: as if it had never been leased. */
export function shrinkLease(bucket: Bucket, rule: Rule, lease: BucketLease, difference: bigint, nowUs: bigint): Bucket {
  const less = smaller(difference, lease.granted);
  const leases = bucket.leases.map((each) => (each === lease ? { ...each, granted: each.granted - less } : each));
  if (rule.kind === "window") return { ...bucket, leases };
  return withSpent({ ...withSpent(bucket, rule, 0n, nowUs), leases }, rule, -less * rule.token, nowUs);
}

/** The bucket under another rule of the same kind; between kinds nothing carries over. Marks made before are of no use after. */
export function withRule(bucket: Bucket, from: Rule, to: Rule, nowUs: bigint): Bucket {
  if (from.kind === "tokens" && to.kind === "tokens") return withRate(bucket, from, to, nowUs);
  return from.kind === to.kind ? bucket : freshBucket;
}
