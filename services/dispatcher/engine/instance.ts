import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { registerInstance, removeInstance, renewInstance } from "../sql/instances.ts";

/**
 * This process among its replicas. Everything it leases to sessions hangs on one row, which it renews; when it does not,
 * the others take over what is left.
 */
export class Instance {
  readonly instanceId: string;
  readonly instanceKey: number;
  readonly leaseMs: number;
  readonly #pool: ConnectionPool;
  readonly #clock: Clock;
  #live = 1;
  #renewedMs: number;
  /** Since when there was no gap in the renewals. */
  #steadySinceMs: number;

  private constructor(parts: {
    pool: ConnectionPool;
    clock: Clock;
    instanceId: string;
    instanceKey: number;
    leaseMs: number;
  }) {
    this.#pool = parts.pool;
    this.#clock = parts.clock;
    this.instanceId = parts.instanceId;
    this.instanceKey = parts.instanceKey;
    this.leaseMs = parts.leaseMs;
    this.#renewedMs = this.#steadySinceMs = parts.clock.monotonic();
  }

  static async register(
    pool: ConnectionPool,
    clock: Clock,
    { instanceId, leaseMs }: { instanceId: string; leaseMs: number },
  ): Promise<Instance> {
    const instanceKey = await registerInstance(pool, instanceId, leaseMs);
    return new Instance({ pool, clock, instanceId, instanceKey, leaseMs });
  }

  /** Whether no other Dispatcher is live, so that nobody has to be told of anything. */
  get isAlone(): boolean {
    return this.#live === 1;
  }

  async renew(): Promise<void> {
    this.#live = await renewInstance(this.#pool, this, this.leaseMs);
    const nowMs = this.#clock.monotonic();
    if (nowMs - this.#renewedMs > this.leaseMs) this.#steadySinceMs = nowMs;
    this.#renewedMs = nowMs;
  }

  /**
   * Whether others may be judged by their leases. After Postgres was away nobody could renew, and for one lease's length
   * everybody gets the chance to.
   */
  get mayJudge(): boolean {
    return this.#renewedMs - this.#steadySinceMs > this.leaseMs;
  }

  async remove(): Promise<void> {
    await removeInstance(this.#pool, this.instanceKey);
  }
}
