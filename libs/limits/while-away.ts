import { WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { LeaseLedger, Spending } from "./lease-ledger.ts";
import type { MonotonicClock } from "./limiter.ts";
import type { LimitEntry } from "./limit-entry.ts";
import type { Need } from "./limit-index.ts";
import { TokenBucketLimiter } from "./token-bucket-limiter.ts";

/** What holds while the arbiter cannot be asked. */
export class WhileAway {
  readonly #clock: MonotonicClock;
  /** They live on when the arbiter is back, so that one which comes and goes does not bring a burst each time. */
  readonly #trickles = new WeakMap<LimitEntry, TokenBucketLimiter>();

  constructor(clock: MonotonicClock) {
    this.#clock = clock;
  }

  /**
   * All or nothing, as ever: from leases where they have enough, else as each limit says. Undefined when it passes; else the
   * limits that stand against it.
   * @param nowMs by the ledger's clock
   */
  admit(
    needs: readonly Need[],
    ledger: LeaseLedger,
    nowMs: number,
    spendings: Spending[],
  ): readonly LimitEntry[] | undefined {
    const refusing: LimitEntry[] = [];
    const fromLeases: Need[] = [];
    const trickling: { limiter: TokenBucketLimiter; cost: number }[] = [];
    for (const need of needs) {
      const { bucket, cost } = need;
      if (ledger.available(bucket, nowMs) >= cost) {
        fromLeases.push(need);
      } else if (bucket.pausedUntilMs > nowMs) {
        refusing.push(bucket.limit);
      } else if (bucket.limit.whenUnreachable === WhenUnreachable.SAFE_CAPACITY) {
        const limiter = this.#trickle(bucket.limit);
        if (limiter.waitTime(cost) === 0) trickling.push({ limiter, cost });
        else refusing.push(bucket.limit);
      } else if (bucket.limit.whenUnreachable !== WhenUnreachable.FAIL_OPEN) {
        refusing.push(bucket.limit);
      }
    }
    if (refusing.length > 0) return refusing;
    ledger.take(fromLeases, nowMs, spendings);
    for (const { limiter, cost } of trickling) limiter.allow(cost);
    return undefined;
  }

  /** One for the limit, whatever its buckets; a second's worth of it, or one, at once. */
  #trickle(entry: LimitEntry): TokenBucketLimiter {
    let limiter = this.#trickles.get(entry);
    if (limiter === undefined) {
      const rate = entry.limit.safeRatePerSecond;
      // To the millionth of one a second, or to the thousandth where a millionth could not be counted exactly.
      const parts = rate < 100 ? 1e6 : 1e3;
      limiter = new TokenBucketLimiter({
        calls: Math.max(1, Math.round(rate * parts)),
        periodMs: parts * 1_000,
        burst: Math.max(1, Math.floor(rate)),
        clock: this.#clock,
      });
      this.#trickles.set(entry, limiter);
    }
    return limiter;
  }
}
