import { type Bucket, larger, leasedFrom, smaller, timeOf } from "./bucket.ts";

/**
 * A token bucket in whole numbers. Amounts are counted in grains, so small that a token and a microsecond's refill are both
 * whole numbers of them: nothing is ever rounded, so a retry at the stated wait succeeds and one a microsecond earlier fails.
 *
 * This is GCRA (ITU-T I.371): with T the time of one token and B the burst, `spent` is (tat − now) / T in grains, so that
 * `tat' = max(now, tat) + q·T` is `spentAt(now) + q`, and `tat' − B·T ≤ now` is `spent ≤ capacity`.
 */
export interface TokenRate {
  readonly kind: "tokens";
  /** Grains of one token. */
  readonly token: bigint;
  /** Grains that come back each microsecond. */
  readonly refill: bigint;
  /** Grains of a full bucket: the burst. */
  readonly capacity: bigint;
}

/** The most grains of a bucket: Postgres counts in 63 bits, and adding two of these still fits. */
export const maxCapacity = 1n << 62n;

/** A settlement may charge any number of tokens; a debt stops here, so that sums with it fit into 63 bits. */
export const maxSpent = maxCapacity + (maxCapacity >> 1n);

/**
 * `tokens` every `periodNs` nanoseconds, at most `burst` at once. All at least 1. Its capacity may exceed `maxCapacity`:
 * the caller refuses that.
 */
export function tokenRate(tokens: bigint, periodNs: bigint, burst: bigint): TokenRate {
  const perMicrosecond = tokens * 1_000n;
  const divisor = greatestCommonDivisor(perMicrosecond, periodNs);
  const token = periodNs / divisor;
  return { kind: "tokens", token, refill: perMicrosecond / divisor, capacity: burst * token };
}

/** Grains missing at `nowUs`. What is leased out is not refilled; a clock that was set back refills nothing. */
export function spentAt(bucket: Bucket, { token, refill }: TokenRate, nowUs: bigint): bigint {
  const left = nowUs <= bucket.atUs ? bucket.spent : bucket.spent - (nowUs - bucket.atUs) * refill;
  return larger(left, leasedFrom(bucket) * token);
}

/** Microseconds until no more than `atMost` grains are missing, if nobody else comes and every lease is kept to its end. */
export function timeUntilSpent(bucket: Bucket, rate: TokenRate, atMost: bigint, nowUs: bigint): bigint {
  let spent = spentAt(bucket, rate, nowUs);
  if (spent <= atMost) return 0n;
  let fromUs = timeOf(bucket, nowUs);
  let floor = leasedFrom(bucket) * rate.token;
  for (const { granted, endUs } of bucket.leases) {
    if (floor <= atMost) break;
    if (endUs > fromUs) {
      spent = larger(floor, spent - (endUs - fromUs) * rate.refill);
      fromUs = endUs;
    }
    floor -= granted * rate.token;
  }
  return (spent - atMost + rate.refill - 1n) / rate.refill + fromUs - nowUs;
}

/** The bucket at `nowUs` with `grains` more spent, or fewer; never less than what is leased, never more than `maxSpent`. */
export function withSpent(bucket: Bucket, rate: TokenRate, grains: bigint, nowUs: bigint): Bucket {
  const floor = leasedFrom(bucket) * rate.token;
  const spent = smaller(maxSpent, larger(floor, spentAt(bucket, rate, nowUs) + grains));
  return { ...bucket, spent, atUs: timeOf(bucket, nowUs) };
}

/** As `bucket` under another rate: it keeps the tokens that it has, up to the new burst, and what it owes. A full one stays full. */
export function withRate(bucket: Bucket, from: TokenRate, to: TokenRate, nowUs: bigint): Bucket {
  const missing = spentAt(bucket, from, nowUs);
  if (missing === 0n) return { ...bucket, spent: 0n, atUs: timeOf(bucket, nowUs) };
  const free = from.capacity - missing;
  const kept = smaller(to.capacity, floorDivide(free * to.token, from.token));
  const spent = smaller(maxSpent, larger(leasedFrom(bucket) * to.token, to.capacity - kept));
  return { ...bucket, spent, atUs: timeOf(bucket, nowUs) };
}

function floorDivide(a: bigint, b: bigint): bigint {
  return a >= 0n || a % b === 0n ? a / b : a / b - 1n;
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}
