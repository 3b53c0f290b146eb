import type { LeaseAnswer, LeaseAsk } from "#libs/limits/lease-ledger.ts";
import type { Need } from "#libs/limits/limit-index.ts";
import { freshBucket, type Bucket as StoredBucket } from "../../services/ratelimit/core/bucket.ts";
import { endLease, grant, type Rule, take, waitUs, withExpired, withRule } from "../../services/ratelimit/core/rule.ts";

/** How much later than for its holder a lease ends for the arbiter, as in the RateLimit service. */
const graceMs = 1_000;

export interface LeaseMessage {
  readonly holderId: string;
  readonly items: readonly {
    readonly limit: string;
    readonly key: string;
    readonly want: number;
    readonly returned:
      { readonly id: bigint; readonly unspent: number; readonly ageMs: number | undefined } | undefined;
  }[];
}

/** A request as it leaves its holder: what happens to the lease there afterwards does not change it. */
export function toMessage(
  holderId: string,
  asks: readonly LeaseAsk[],
  ageOf: (lastUseMs: number) => number,
): LeaseMessage {
  const items = asks.map(({ bucket, want, returned }) => ({
    limit: bucket.limit.name,
    key: bucket.key,
    want,
    returned: returned && {
      id: returned.id,
      unspent: returned.left,
      ageMs: returned.lastUseMs === undefined ? undefined : ageOf(returned.lastUseMs),
    },
  }));
  return { holderId, items };
}

/** The RateLimit service without its database: one place, one clock, decisions by its pure rules. */
export class ArbiterModel {
  readonly #rules = new Map<string, Rule>();
  readonly #buckets = new Map<string, StoredBucket>();
  readonly #leaseMs: number;
  #leases = 0n;
  revision = 1n;

  constructor(rules: ReadonlyMap<string, Rule>, leaseMs: number) {
    this.#rules = new Map(rules);
    this.#leaseMs = leaseMs;
  }

  lease({ holderId, items }: LeaseMessage, nowUs: bigint): LeaseAnswer[] {
    return items.map(({ limit, key, want, returned }) => {
      const rule = this.#rules.get(limit)!;
      let bucket = this.#bucket(limit, key, nowUs);
      const lease = bucket.leases.find(({ leaseId, holderId: who }) => leaseId === returned?.id && who === holderId);
      if (lease !== undefined && returned !== undefined) {
        const lastUs = nowUs - BigInt(Math.floor((returned.ageMs ?? 0) * 1_000));
        bucket = endLease(bucket, rule, lease, BigInt(returned.unspent), lastUs, nowUs).bucket;
      }
      let answer: LeaseAnswer = { id: 0n, granted: 0, durationMs: 0, retryDelayMs: undefined, revision: this.revision };
      if (want > 0) {
        const leaseId = ++this.#leases;
        const endUs = nowUs + BigInt((this.#leaseMs + graceMs) * 1_000);
        const granted = grant(bucket, rule, BigInt(want), { leaseId, holderId, endUs }, nowUs);
        bucket = granted.bucket;
        const retryDelayMs = granted.retryUs === undefined ? undefined : Number(granted.retryUs) / 1_000;
        answer = { ...answer, id: leaseId, granted: Number(granted.granted), durationMs: this.#leaseMs, retryDelayMs };
      }
      this.#buckets.set(`${limit}|${key}`, bucket);
      return answer;
    });
  }

  /** Takes from all, or from none. The wait in microseconds, 0 if it was admitted; undefined for never. */
  acquire(needs: readonly Need[], nowUs: bigint): bigint | undefined {
    let worst = 0n;
    for (const { bucket, cost } of needs) {
      const stored = this.#bucket(bucket.limit.name, bucket.key, nowUs);
      const wait = waitUs(stored, this.#rules.get(bucket.limit.name)!, BigInt(cost), nowUs);
      if (wait === undefined) return undefined;
      if (wait > worst) worst = wait;
    }
    if (worst > 0n) return worst;
    for (const { bucket, cost } of needs) {
      const stored = this.#bucket(bucket.limit.name, bucket.key, nowUs);
      const taken = take(stored, this.#rules.get(bucket.limit.name)!, BigInt(cost), nowUs);
      this.#buckets.set(`${bucket.limit.name}|${bucket.key}`, taken);
    }
    return 0n;
  }

  setRule(limit: string, rule: Rule, nowUs: bigint): void {
    const before = this.#rules.get(limit)!;
    for (const [name, bucket] of this.#buckets) {
      if (!name.startsWith(`${limit}|`)) continue;
      this.#buckets.set(name, withRule(withExpired(bucket, before, nowUs), before, rule, nowUs));
    }
    this.#rules.set(limit, rule);
    this.revision++;
  }

  #bucket(limit: string, key: string, nowUs: bigint): StoredBucket {
    return withExpired(this.#buckets.get(`${limit}|${key}`) ?? freshBucket, this.#rules.get(limit)!, nowUs);
  }
}
