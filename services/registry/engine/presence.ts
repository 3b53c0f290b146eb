import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { purgeTakeovers } from "../sql/forget-takeovers.ts";
import { renewInstance } from "../sql/renew-instance.ts";
import { sweepSessions } from "../sql/sweep-sessions.ts";
import { unlessAway } from "#libs/db/unless-away.ts";

export interface PresenceOptions {
  readonly pool: ConnectionPool;
  readonly registryId: string;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly log: Logger;
  /** Sessions were ended whose Registry is gone. */
  readonly swept: () => void;
}

const sweepAtOnce = 1_000;

/** Keeps this Registry's own lease, and ends the sessions of those that lost theirs. */
export class Presence {
  readonly renewal: Ticker;
  readonly sweep: Ticker;
  readonly #options: PresenceOptions;
  /** Since when every renewal was in time, by the monotonic clock. */
  #unbrokenSinceMs: number | undefined;
  #renewedMs = 0;

  constructor(options: PresenceOptions) {
    this.#options = options;
    const { clock, log, leaseMs } = options;
    const renewal = { everyMs: leaseMs / 4, tick: () => unlessAway(() => this.#renew()), clock, log };
    this.renewal = new Ticker({ name: "renewing the lease of this Registry", ...renewal });
    const sweep = { everyMs: leaseMs / 2, tick: () => unlessAway(() => this.#sweep()), clock, log };
    this.sweep = new Ticker({ name: "ending sessions of lost Registries", ...sweep });
  }

  async #renew(): Promise<void> {
    const { pool, registryId, leaseMs, clock } = this.#options;
    const askedMs = clock.monotonic();
    await renewInstance(pool, registryId, leaseMs);
    if (this.#unbrokenSinceMs === undefined || askedMs - this.#renewedMs > leaseMs) this.#unbrokenSinceMs = askedMs;
    this.#renewedMs = askedMs;
  }

  /**
   * When Postgres comes back after a while, every lease has run out, but the Registries live and are about to renew. So one
   * that has not kept its own for a whole lease's time does not judge the others; nor does one that has just started, when
   * all were stopped together.
   */
  async #sweep(): Promise<void> {
    const { pool, leaseMs, clock, log, swept } = this.#options;
    const nowMs = clock.monotonic();
    if (this.#unbrokenSinceMs === undefined || nowMs - this.#unbrokenSinceMs < leaseMs) return;
    if (nowMs - this.#renewedMs > leaseMs / 2) return;
    await purgeTakeovers(pool);
    for (let ended = sweepAtOnce; ended === sweepAtOnce;) {
      ended = await sweepSessions(pool, sweepAtOnce);
      if (ended === 0) return;
      log.info("ended sessions whose Registry is gone", { sessions: ended });
      swept();
    }
  }
}
