/** Admissions that a window counts as made at `atUs`: at that moment or before it. */
export interface LogEntry {
  readonly atUs: bigint;
  readonly cost: bigint;
}

/** Tokens that a holder may spend by itself until `endUs`. */
export interface BucketLease {
  readonly leaseId: bigint;
  readonly holderId: string;
  readonly granted: bigint;
  readonly grantedUs: bigint;
  readonly endUs: bigint;
}

/** Where something that was taken is in the order of the refill, or what it is logged at in a window. */
export interface Mark {
  readonly markUs: bigint;
  readonly shiftUs: bigint;
}

interface GivenBack extends Mark {
  readonly grains: bigint;
}

/** What is stored of one bucket of a limit. All times are microseconds since 1970 by Postgres's clock. */
export interface Bucket {
  /** Of a token bucket: grains missing from the full bucket at `atUs`. More than the capacity when it is overdrawn. */
  readonly spent: bigint;
  /** When it was last written: its time never goes back behind this. */
  readonly atUs: bigint;
  /** Of a window: what it counts, the oldest first. */
  readonly log: readonly LogEntry[];
  /** By their ends. What they hold counts as spent, and comes back only after they have ended. */
  readonly leases: readonly BucketLease[];
  /** Of a token bucket: by how much, in all, what was given back has brought forward the refill of what was taken before. */
  readonly shiftUs: bigint;
  /** Of a token bucket: each of those. Not read from Postgres, which looks for the few that it needs. */
  readonly gaveBack: readonly GivenBack[];
  /** It admits nothing before. */
  readonly pauseUntilUs: bigint;
}

export const freshBucket: Bucket = {
  spent: 0n,
  atUs: 0n,
  log: [],
  leases: [],
  shiftUs: 0n,
  gaveBack: [],
  pauseUntilUs: 0n,
};

export function leasedFrom({ leases }: Bucket): bigint {
  let sum = 0n;
  for (const { granted } of leases) sum += granted;
  return sum;
}

/** The bucket's own time: a clock that was set back stands still until it has caught up. */
export const timeOf = ({ atUs }: Bucket, nowUs: bigint): bigint => larger(atUs, nowUs);

export const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);
export const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);
