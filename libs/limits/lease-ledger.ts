import type { Bucket, HeldLease } from "./bucket.ts";
import type { Need } from "./limit-index.ts";

/** What was spent from one lease. */
export interface Spending {
  readonly bucket: Bucket;
  readonly lease: HeldLease;
  readonly cost: number;
}

/** One thing to ask the arbiter for, or to give back to it. */
export interface LeaseAsk {
  readonly bucket: Bucket;
  readonly want: number;
  readonly returned: HeldLease | undefined;
  /** What the bucket should have after it. */
  readonly target: number;
}

export interface LeaseAnswer {
  readonly id: bigint;
  readonly granted: number;
  readonly durationMs: number;
  /** When more than was granted may be there. Undefined: not known. */
  readonly retryDelayMs: number | undefined;
  /** Of the limits by which it was granted. */
  readonly revision: bigint;
}

interface Ended {
  readonly bucket: Bucket;
  readonly lease: HeldLease;
}

/** A lease is of about this much demand, or of a tenth of a window. */
const leadMs = 1_000;
const idleMs = 1_000;
/** A limit that admits fewer at once is always asked for: leases would leave nothing for others. */
const leastCapacity = 10;
const longestScarcityMs = 250;
const shortestScarcityMs = 20;

/**
 * What one process holds of which buckets. No I/O and no clock: the caller sends what `asks` says, and tells what came of it.
 * Whatever is spent here was granted, is spent before its lease ends by this holder's clock, and was not given back.
 */
export class LeaseLedger {
  readonly #held = new Set<Bucket>();
  readonly #due = new Set<Bucket>();
  #ended: Ended[] = [];
  readonly #onDue: () => void;

  /** @param onDue there is something to ask for before anybody waits for it. */
  constructor(onDue: () => void = () => {}) {
    this.#onDue = onDue;
  }

  get hasDue(): boolean {
    return this.#due.size > 0;
  }

  get hasReturns(): boolean {
    return this.#ended.length > 0;
  }

  get heldBuckets(): number {
    return this.#held.size;
  }

  /** What can be spent of a bucket now. */
  available(bucket: Bucket, nowMs: number): number {
    if (bucket.left === 0 || bucket.limit.isGone || bucket.pausedUntilMs > nowMs) return 0;
    while (bucket.leases.length > 0 && bucket.leases[0]!.endMs <= nowMs) this.#end(bucket, bucket.leases[0]!);
    return bucket.left;
  }

  /** Spends from all buckets, or from none. `spendings` is told from which leases. */
  take(needs: readonly Need[], nowMs: number, spendings?: Spending[]): boolean {
    for (const { bucket, cost } of needs) if (this.available(bucket, nowMs) < cost) return false;
    for (const { bucket, cost } of needs) this.#spend(bucket, cost, nowMs, spendings);
    return true;
  }

  /** Undoes a spending that was not used after all. Of a lease that was given back already it stays spent. */
  giveBack(spendings: readonly Spending[]): void {
    for (const { bucket, lease, cost } of spendings) {
      lease.left += cost;
      if (bucket.leases.includes(lease)) bucket.left += cost;
    }
  }

  /** What to send now, returns first. What waits for buckets that are worth a lease is asked for with it. */
  asks(waiting: Iterable<readonly Need[]>, nowMs: number, most = 1_000): LeaseAsk[] {
    const unmet = new Map<Bucket, number>();
    for (const needs of waiting) {
      for (const { bucket, cost } of needs) {
        unmet.set(bucket, (unmet.get(bucket) ?? 0) + cost);
        if (this.available(bucket, nowMs) < unmet.get(bucket)!) this.#due.add(bucket);
      }
    }
    const asks: LeaseAsk[] = toAsks(this.#ended.splice(0, most));
    for (const bucket of this.#due) {
      if (asks.length >= most) break;
      this.#due.delete(bucket);
      if (!isWorthALease(bucket, nowMs)) continue;
      const target = targetOf(bucket, nowMs, unmet.get(bucket) ?? 0);
      const want = Math.min(1e9, target - lasting(bucket, nowMs));
      if (want <= 0) continue;
      bucket.isAsking = true;
      asks.push({ bucket, want, returned: undefined, target });
    }
    return asks;
  }

  /** @param answer undefined: there is none, and what was given back is lost. */
  answered({ bucket, want, target }: LeaseAsk, answer: LeaseAnswer | undefined, sentMs: number, nowMs: number): void {
    if (want === 0) return;
    bucket.isAsking = false;
    if (answer === undefined) return;
    const { id, granted, durationMs, retryDelayMs = longestScarcityMs } = answer;
    if (granted < want) {
      const scarceMs = Math.min(longestScarcityMs, Math.max(shortestScarcityMs, retryDelayMs));
      bucket.scarceUntilMs = nowMs + scarceMs;
    }
    if (granted === 0) return;
    const endMs = sentMs + durationMs;
    const lease: HeldLease = {
      id,
      granted,
      endMs,
      agingMs: endMs - durationMs / 4,
      left: granted,
      lastUseMs: undefined,
    };
    if (bucket.limit.isGone || answer.revision < bucket.limit.revision || bucket.pausedUntilMs > nowMs) {
      this.#ended.push({ bucket, lease });
      return;
    }
    const after = bucket.leases.findIndex((other) => other.endMs > endMs);
    bucket.leases.splice(after < 0 ? bucket.leases.length : after, 0, lease);
    bucket.left += granted;
    bucket.renewAt = Math.floor(target / 2);
    this.#held.add(bucket);
  }

  /** Gives back what is held of these buckets, and of them alone, so that the arbiter can decide with all there is. */
  recall(buckets: ReadonlySet<Bucket>): LeaseAsk[] {
    for (const bucket of buckets) this.#endAll(bucket);
    const recalled = this.#ended.filter(({ bucket }) => buckets.has(bucket));
    if (recalled.length > 0) this.#ended = this.#ended.filter(({ bucket }) => !buckets.has(bucket));
    return toAsks(recalled);
  }

  recallEverything(): void {
    for (const bucket of this.#held) this.#endAll(bucket);
  }

  /** What time alone brings about; some ten times a second. */
  sweep(nowMs: number): void {
    for (const bucket of this.#held) {
      const left = this.available(bucket, nowMs);
      const isIdle = nowMs - bucket.notedMs > idleMs;
      if (left === 0 || isIdle) {
        this.#endAll(bucket);
        continue;
      }
      // So that demand that has fallen does not keep from others what they could use.
      if (left > 2 * targetOf(bucket, nowMs, 0) + 8) this.#endAll(bucket);
      else if (lasting(bucket, nowMs) > bucket.renewAt) continue;
      if (isWorthALease(bucket, nowMs)) this.#due.add(bucket);
    }
  }

  #spend(bucket: Bucket, cost: number, nowMs: number, spendings: Spending[] | undefined): void {
    bucket.left -= cost;
    let rest = cost;
    while (rest > 0) {
      const lease = bucket.leases[0]!;
      const part = lease.left < rest ? lease.left : rest;
      lease.left -= part;
      lease.lastUseMs = nowMs;
      rest -= part;
      spendings?.push({ bucket, lease, cost: part });
      if (lease.left === 0) this.#end(bucket, lease);
    }
    if (bucket.left <= bucket.renewAt && isWorthALease(bucket, nowMs) && !this.#due.has(bucket)) {
      this.#due.add(bucket);
      this.#onDue();
    }
  }

  #end(bucket: Bucket, lease: HeldLease): void {
    bucket.leases.splice(bucket.leases.indexOf(lease), 1);
    bucket.left -= lease.left;
    if (bucket.leases.length === 0) this.#held.delete(bucket);
    this.#ended.push({ bucket, lease });
  }

  #endAll(bucket: Bucket): void {
    while (bucket.leases.length > 0) this.#end(bucket, bucket.leases[0]!);
  }
}

function toAsks(ended: readonly Ended[]): LeaseAsk[] {
  return (
    ended
      // Nobody knows a lease of a limit that was deleted.
      .filter(({ bucket }) => !bucket.limit.isDeleted)
      .map(({ bucket, lease }) => ({ bucket, want: 0, returned: lease, target: 0 }))
  );
}

function isWorthALease(bucket: Bucket, nowMs: number): boolean {
  const { isAsking, scarceUntilMs, pausedUntilMs, limit } = bucket;
  if (isAsking || limit.isGone || limit.capacity < leastCapacity || scarceUntilMs > nowMs || pausedUntilMs > nowMs)
    return false;
  return bucket.isInDemand(nowMs);
}

/** What it should have: the demand of the time to come, but never more than half of what the limit admits at once. */
function targetOf(bucket: Bucket, nowMs: number, unmet: number): number {
  const { capacity, windowMs } = bucket.limit;
  const forMs = windowMs === 0 ? leadMs : Math.min(leadMs, windowMs / 10);
  const wanted = Math.ceil((bucket.demand(nowMs) * forMs) / 1_000);
  return Math.max(1, Math.min(Math.max(wanted, unmet), Math.floor(capacity / 2)));
}

/** What it has left in leases that are not about to end. */
function lasting(bucket: Bucket, nowMs: number): number {
  let left = 0;
  for (const lease of bucket.leases) if (lease.agingMs > nowMs) left += lease.left;
  return left;
}
