/**
 * A token bucket in whole numbers. Amounts are counted in grains, so small that a token and a microsecond's refill are both
 * whole numbers of them: nothing is ever rounded, so a retry at the stated wait succeeds and one a microsecond earlier fails.
 *
 * This is GCRA (ITU-T I.371): with T the time of one token and B the burst, `spent` is (tat − now) / T in grains, so that
 * `tat' = max(now, tat) + q·T` is `spentAt(now) + q`, and `tat' − B·T ≤ now` is `spent ≤ capacity`. Postgres decides by the
 * same rule (0003_acquire.sql); here it answers questions that take nothing.
 */
export interface TokenRate {
  /** Grains of one token. */
  readonly token: bigint;
  /** Grains that come back each microsecond. */
  readonly refill: bigint;
  /** Grains of a full bucket: the burst. */
  readonly capacity: bigint;
}

export interface Bucket {
  /** Grains missing from the full bucket at `atUs`. More than the capacity when it is overdrawn. */
  readonly spent: bigint;
  /** Microseconds since 1970. */
  readonly atUs: bigint;
  /** Tokens leased out: part of `spent`, and not refilled while they are out. */
  readonly leased: bigint;
  /** When the last of its leases expires, microseconds since 1970. */
  readonly leaseEndUs: bigint;
}

export const fullBucket: Bucket = { spent: 0n, atUs: 0n, leased: 0n, leaseEndUs: 0n };

/** The most grains of a bucket: Postgres counts in 63 bits, and adding two of these still fits. */
export const maxCapacity = 1n << 62n;

/**
 * `tokens` every `periodNs` nanoseconds, at most `burst` at once. All at least 1. Its capacity may exceed `maxCapacity`:
 * the caller refuses that.
 */
export function tokenRate(tokens: bigint, periodNs: bigint, burst: bigint): TokenRate {
  const perMicrosecond = tokens * 1_000n;
  const divisor = greatestCommonDivisor(perMicrosecond, periodNs);
  const token = periodNs / divisor;
  return { token, refill: perMicrosecond / divisor, capacity: burst * token };
}

/** Grains missing at `nowUs`. A clock that was set back refills nothing until it has caught up. */
export function spentAt({ spent, atUs, leased }: Bucket, { token, refill }: TokenRate, nowUs: bigint): bigint {
  const left = nowUs <= atUs ? spent : spent - (nowUs - atUs) * refill;
  const floor = leased * token;
  return left > floor ? left : floor;
}

/**
 * Microseconds until `cost` tokens can be taken if nobody else comes, 0 for now, undefined for never. Where leased tokens are
 * in the way they are taken to be kept until the last lease expires.
 */
export function waitUs(bucket: Bucket, rate: TokenRate, cost: bigint, nowUs: bigint): bigint | undefined {
  const room = rate.capacity - cost * rate.token;
  if (room < 0n) return undefined;
  const untilRefilled = timeUntil(bucket, rate, room, nowUs);
  const leasesInTheWay = bucket.leased * rate.token > room && bucket.leaseEndUs > nowUs;
  return leasesInTheWay ? untilRefilled + bucket.leaseEndUs - nowUs : untilRefilled;
}

/** Whole tokens that can be taken now. */
export function remaining(bucket: Bucket, rate: TokenRate, nowUs: bigint): bigint {
  const free = rate.capacity - spentAt(bucket, rate, nowUs);
  return free > 0n ? free / rate.token : 0n;
}

/** Microseconds until the bucket is full again; what is leased out counts as spent now. */
export function fullInUs(bucket: Bucket, rate: TokenRate, nowUs: bigint): bigint {
  return timeUntil(bucket, rate, 0n, nowUs);
}

/** The bucket after `cost` tokens were taken. Whether they may be is `waitUs` = 0. */
export function take(bucket: Bucket, rate: TokenRate, cost: bigint, nowUs: bigint): Bucket {
  return {
    ...bucket,
    spent: spentAt(bucket, rate, nowUs) + cost * rate.token,
    atUs: nowUs > bucket.atUs ? nowUs : bucket.atUs,
  };
}

function timeUntil(bucket: Bucket, rate: TokenRate, atMost: bigint, nowUs: bigint): bigint {
  const excess = spentAt(bucket, rate, nowUs) - atMost;
  if (excess <= 0n) return 0n;
  const clockLag = bucket.atUs > nowUs ? bucket.atUs - nowUs : 0n;
  return (excess + rate.refill - 1n) / rate.refill + clockLag;
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}
