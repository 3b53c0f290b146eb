import {
  type Bucket,
  type BucketLease,
  freshBucket,
  type Mark,
  smaller,
} from "../../services/ratelimit/core/bucket.ts";
import type { LimitSet } from "../../services/ratelimit/core/limit-set.ts";
import { checksOf } from "../../services/ratelimit/core/plan.ts";
import * as rules from "../../services/ratelimit/core/rule.ts";
import type { Rule } from "../../services/ratelimit/core/rule.ts";
import type { Acquisition } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";

interface Ended {
  readonly mark: Mark;
  readonly era: number;
  spent: bigint;
}

export interface Taken {
  readonly mark: Mark;
  readonly era: number;
}

interface Reservation extends Taken {
  readonly name: string;
  readonly cost: bigint;
}

/** One limit's bucket in the model, with what was taken from it and may yet be settled. */
export class ModelBucket {
  rule: Rule;
  bucket: Bucket = freshBucket;
  #era = 1;
  readonly #ended = new Map<bigint, Ended>();

  constructor(rule: Rule) {
    this.rule = rule;
  }

  expire(nowUs: bigint): void {
    for (const lease of this.bucket.leases) {
      if (lease.endUs > nowUs) return;
      this.#end(lease, 0n, lease.endUs, lease.endUs);
    }
  }

  waitUs(cost: bigint, nowUs: bigint): bigint | undefined {
    this.expire(nowUs);
    return rules.waitUs(this.bucket, this.rule, cost, nowUs);
  }

  take(cost: bigint, nowUs: bigint): Taken {
    this.bucket = rules.take(this.bucket, this.rule, cost, nowUs);
    return { mark: rules.markOf(this.bucket, this.rule, nowUs), era: this.#era };
  }

  lease(leaseId: bigint, holderId: string, want: bigint, leaseUs: bigint, nowUs: bigint): rules.Granted {
    this.expire(nowUs);
    const granted = rules.grant(this.bucket, this.rule, want, { leaseId, holderId, endUs: nowUs + leaseUs }, nowUs);
    this.bucket = granted.bucket;
    return granted;
  }

  endLease(leaseId: bigint, unspent: bigint, lastUs: bigint, nowUs: bigint): void {
    this.expire(nowUs);
    const lease = this.bucket.leases.find((each) => each.leaseId === leaseId);
    if (lease !== undefined) this.#end(lease, unspent, lastUs, nowUs);
  }

  charge(difference: bigint, nowUs: bigint): void {
    this.expire(nowUs);
    this.bucket = rules.take(this.bucket, this.rule, difference, nowUs);
  }

  settle(difference: bigint, { mark, era }: Taken, nowUs: bigint): void {
    this.expire(nowUs);
    if (difference === 0n) return;
    if (difference < 0n && era !== this.#era) return;
    this.bucket = rules.settle(this.bucket, this.rule, difference, mark, nowUs);
  }

  giveBackLeased(leaseId: bigint, amount: bigint, nowUs: bigint): void {
    this.expire(nowUs);
    const lease = this.bucket.leases.find((each) => each.leaseId === leaseId);
    if (lease !== undefined) {
      this.bucket = rules.shrinkLease(this.bucket, this.rule, lease, amount, nowUs);
      return;
    }
    const ended = this.#ended.get(leaseId);
    if (ended === undefined) return;
    const back = smaller(amount, ended.spent);
    ended.spent -= back;
    this.settle(-back, ended, nowUs);
  }

  change(rule: Rule, nowUs: bigint): void {
    if (rule.kind === "tokens") this.expire(nowUs);
    this.bucket = rules.withRule(this.bucket, this.rule, rule, nowUs);
    if (!marksHold(this.rule, rule)) this.#era++;
    this.rule = rule;
  }

  pause(untilUs: bigint): void {
    this.bucket = { ...this.bucket, pauseUntilUs: untilUs };
  }

  #end(lease: BucketLease, unspent: bigint, lastUs: bigint, nowUs: bigint): void {
    const { bucket, mark } = rules.endLease(this.bucket, this.rule, lease, unspent, lastUs, nowUs);
    this.bucket = bucket;
    const spent = lease.granted > unspent ? lease.granted - unspent : 0n;
    this.#ended.set(lease.leaseId, { mark, era: this.#era, spent });
  }
}

/** What the service answers, by the pure rules: every bucket of every limit, reservations, order and pauses. */
export class Model {
  readonly #buckets = new Map<string, ModelBucket>();
  readonly #reservations = new Map<string, Reservation[]>();

  bucket(limit: string, key: string, rule: Rule): ModelBucket {
    const name = `${limit} ${key}`;
    let bucket = this.#buckets.get(name);
    if (bucket === undefined) this.#buckets.set(name, (bucket = new ModelBucket(rule)));
    return bucket;
  }

  /** The waits: 0 for what is admitted, undefined for never. */
  acquire(
    limits: LimitSet,
    acquisitions: readonly Acquisition[],
    nowUs: bigint,
    inOrder: boolean,
  ): (bigint | undefined)[] {
    const blocked = new Map<string, bigint>();
    return acquisitions.map((acquisition) => {
      const { reservationId } = acquisition;
      if (this.#reservations.has(reservationId)) return 0n;
      const checks = checksOf(limits, acquisition).map(({ bucket: { stored, key }, cost }) => {
        const name = `${stored.limit.name} ${key}`;
        const bucket = this.bucket(stored.limit.name, key, stored.rule);
        return { name, bucket, cost, wait: bucket.waitUs(cost, nowUs) };
      });
      let worst = 0n;
      const refusals: [string, bigint][] = [];
      for (const { name, wait } of checks) {
        if (wait === undefined) return undefined;
        const before = blocked.get(name) ?? 0n;
        const own = before > wait ? before : wait;
        if (own > 0n) refusals.push([name, own]);
        if (own > worst) worst = own;
      }
      if (inOrder) for (const [name, wait] of refusals) blocked.set(name, wait);
      if (worst > 0n) return worst;
      const taken = checks.map(({ name, bucket, cost }) => {
        return { name, cost, ...bucket.take(cost, nowUs) };
      });
      if (reservationId !== "" && taken.length > 0) this.#reservations.set(reservationId, taken);
      return 0n;
    });
  }

  /** Each limit of a reservation costs `actual`. */
  settle(reservationId: string, actual: bigint, nowUs: bigint): void {
    for (const { name, cost, ...at } of this.#reservations.get(reservationId) ?? []) {
      this.#buckets.get(name)!.settle(actual - cost, at, nowUs);
    }
    if (this.#reservations.has(reservationId)) this.#reservations.set(reservationId, []);
  }
}

function marksHold(from: Rule, to: Rule): boolean {
  if (from.kind === "tokens" && to.kind === "tokens") {
    return from.token === to.token && from.refill === to.refill && from.capacity === to.capacity;
  }
  return from.kind === "window" && to.kind === "window" && from.windowUs === to.windowUs && from.slotUs === to.slotUs;
}
