import assert from "node:assert/strict";
import { larger, smaller } from "../../services/ratelimit/core/bucket.ts";
import { spentAt } from "../../services/ratelimit/core/gcra.ts";
import { capacityOf, type Rule, waitUs, withExpired } from "../../services/ratelimit/core/rule.ts";
import { usedAt } from "../../services/ratelimit/core/window.ts";
import { type Taken, ModelBucket } from "./model.ts";

export interface Use {
  /** Postgres's time with its steps back left out. */
  readonly atUs: bigint;
  /** What it is known to have cost, at most what was admitted. */
  cost: bigint;
}

interface HeldLease {
  readonly leaseId: bigint;
  readonly untilUs: bigint;
  left: bigint;
  lastUseUs: bigint;
}

interface LeaseCall {
  readonly holder: number;
  readonly sentUs: bigint;
  readonly want: bigint;
  readonly back: HeldLease | undefined;
}

export interface Regime {
  readonly fromUs: bigint;
  readonly rule: Rule;
}

const startUs = 4_000_000_000_000_000n;

/**
 * One bucket, and three replicas that lease from it: calls under way, crashes, a clock that is set, all by the pure rules. What is
 * used is noted at the moment of its use.
 */
export class World {
  readonly leaseUs: bigint;
  readonly graceUs: bigint;
  readonly uses: Use[] = [];
  readonly regimes: Regime[] = [];
  readonly arbiter: ModelBucket;
  #rule: Rule;
  #trueUs = startUs;
  /** By how much Postgres's clock was set back, in all. */
  #backUs = 0n;
  /** What has passed by the replicas' monotonic clocks, which nobody sets. */
  #steadyUs = startUs;
  #stepsLeftUs: bigint;
  #held: HeldLease[][] = [[], [], []];
  #calls: LeaseCall[] = [];
  #leaseIds = 0n;
  #charged = 0n;
  /** Leased by those who crashed, or whose answer was lost, or returned too late. */
  #lost = 0n;
  readonly #reserved: { use: Use; cost: bigint; taken: Taken }[] = [];
  readonly #spent: { use: Use; cost: bigint; leaseId: bigint }[] = [];

  constructor(rule: Rule, leaseUs: bigint, graceUs: bigint) {
    this.arbiter = new ModelBucket(rule);
    this.#rule = rule;
    this.leaseUs = leaseUs;
    this.graceUs = graceUs;
    this.#stepsLeftUs = graceUs;
    this.regimes.push({ fromUs: startUs, rule });
  }

  get #pgUs(): bigint {
    return this.#trueUs - this.#backUs;
  }

  pass(us: bigint): void {
    this.#trueUs += us;
    this.#steadyUs += us;
  }

  setClockBack(us: bigint): void {
    this.#backUs += us;
  }

  /** All its steps forward together are within the grace. */
  setClockForward(us: bigint): void {
    const step = smaller(us, this.#stepsLeftUs);
    this.#stepsLeftUs -= step;
    this.#trueUs += step;
  }

  acquire(cost: bigint): void {
    const nowUs = this.#pgUs;
    const wait = this.arbiter.waitUs(cost, nowUs);
    if (cost > capacityOf(this.#rule)) {
      assert.equal(wait, undefined);
      return;
    }
    if (wait === 0n) {
      const use = { atUs: this.#trueUs, cost };
      this.uses.push(use);
      this.#reserved.push({ use, cost, taken: this.arbiter.take(cost, nowUs) });
      return;
    }
    const at = (us: bigint) => waitUs(withExpired(this.arbiter.bucket, this.#rule, us), this.#rule, cost, us);
    assert.equal(at(nowUs + wait!), 0n, "at the stated wait it is admitted");
    assert.ok(at(nowUs + wait! - 1n)! > 0n, "a microsecond earlier it is not");
  }

  /** Sends a call that returns a lease, if there is one, and wants more. */
  callLease(holder: number, want: bigint, returns: boolean): void {
    const back = returns ? this.#held[holder]!.pop() : undefined;
    this.#calls.push({ holder, sentUs: this.#steadyUs, want, back });
  }

  /** The arbiter gets a call that is under way; its answer may be lost. */
  deliver(index: number, answered: boolean): void {
    const [call] = this.#calls.splice(index % Math.max(1, this.#calls.length), 1);
    if (call === undefined) return;
    const { holder, sentUs, want, back } = call;
    if (back !== undefined) {
      this.arbiter.expire(this.#pgUs);
      if (!this.arbiter.bucket.leases.some((each) => each.leaseId === back.leaseId)) this.#lost += back.left;
      const age = back.lastUseUs === 0n ? 0n : sentUs - back.lastUseUs;
      this.arbiter.endLease(back.leaseId, back.left, this.#pgUs - age, this.#pgUs);
    }
    if (want === 0n) return;
    const leaseId = ++this.#leaseIds;
    const { granted } = this.arbiter.lease(leaseId, `${holder}`, want, this.leaseUs + this.graceUs, this.#pgUs);
    if (!answered) this.#lost += granted;
    else if (granted > 0n) {
      this.#held[holder]!.push({ leaseId, untilUs: sentUs + this.leaseUs, left: granted, lastUseUs: 0n });
    }
  }

  spend(holder: number, cost: bigint): void {
    const lease = this.#held[holder]!.find(({ untilUs, left }) => left >= cost && untilUs > this.#steadyUs);
    if (lease === undefined || cost === 0n) return;
    lease.left -= cost;
    lease.lastUseUs = this.#steadyUs;
    const use = { atUs: this.#trueUs, cost };
    this.uses.push(use);
    this.#spent.push({ use, cost, leaseId: lease.leaseId });
  }

  crash(holder: number): void {
    for (const { left } of this.#held[holder]!) this.#lost += left;
    this.#held[holder] = [];
  }

  settleReservation(index: number, actual: bigint): void {
    const [settled] = this.#reserved.splice(index % Math.max(1, this.#reserved.length), 1);
    if (settled === undefined) return;
    const { use, cost, taken } = settled;
    use.cost = smaller(actual, cost);
    this.#charged += larger(0n, actual - cost);
    this.arbiter.settle(actual - cost, taken, this.#pgUs);
  }

  settleSpent(index: number, actual: bigint): void {
    const [settled] = this.#spent.splice(index % Math.max(1, this.#spent.length), 1);
    if (settled === undefined || actual >= settled.cost) return;
    settled.use.cost = actual;
    this.arbiter.giveBackLeased(settled.leaseId, settled.cost - actual, this.#pgUs);
  }

  /** Changes the limit; the replicas drop what they hold. */
  change(rule: Rule): void {
    this.arbiter.change(rule, this.#pgUs);
    this.#rule = rule;
    this.regimes.push({ fromUs: this.#trueUs, rule });
    for (const [holder, leases] of this.#held.entries()) {
      while (leases.length > 0) this.callLease(holder, 0n, true);
    }
  }

  /** What the bucket counts after every lease has ended, in tokens, against what was used, charged and lost with those who leased it. */
  balance(): { readonly counted: bigint; readonly known: bigint } {
    while (this.#calls.length > 0) this.deliver(0, false);
    for (const holder of this.#held.keys()) this.crash(holder);
    this.pass(this.leaseUs + this.graceUs + 1n);
    this.arbiter.expire(this.#pgUs);
    const used = this.uses.reduce((sum, { cost }) => sum + cost, 0n);
    const { bucket } = this.arbiter;
    const rule = this.#rule;
    const counted =
      rule.kind === "tokens"
        ? (spentAt(bucket, rule, this.#pgUs) + rule.token - 1n) / rule.token
        : usedAt(bucket, rule, this.#pgUs);
    return { counted, known: used + this.#charged + this.#lost };
  }
}
