import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Matcher } from "../core/matcher.ts";
import { saveServed } from "../sql/rounds.ts";
import type { RouteTable } from "./route-table.ts";
import type { HomeSession } from "./session.ts";

// The row may have been removed and made anew, after a long absence.
const saveAgainMs = 10_000;

/**
 * Tells all replicas which routes this one's sessions can run: a task that nobody can run takes no slot of a concurrency limit
 * from those that can.
 */
export class ServedRoutes {
  readonly #pool: ConnectionPool;
  readonly #clock: Clock;
  readonly #instanceKey: number;
  readonly #routes: RouteTable;
  readonly #matcher: Matcher<HomeSession>;
  #saved = "";
  #savedMs = -Infinity;

  constructor(parts: {
    pool: ConnectionPool;
    clock: Clock;
    instanceKey: number;
    routes: RouteTable;
    matcher: Matcher<HomeSession>;
  }) {
    this.#clock = parts.clock;
    this.#pool = parts.pool;
    this.#instanceKey = parts.instanceKey;
    this.#routes = parts.routes;
    this.#matcher = parts.matcher;
  }

  /** @returns whether there is something new. */
  async tick(): Promise<boolean> {
    const served = [...this.#routes.all()]
      .filter(({ namespace, capability, requiredLabels }) =>
        this.#matcher.offers(namespace, capability, requiredLabels),
      )
      .map(({ routeKey }) => routeKey);
    const list = served.join(",");
    const nowMs = this.#clock.monotonic();
    const isNew = list !== this.#saved;
    if (!isNew && nowMs - this.#savedMs < saveAgainMs) return false;
    await saveServed(this.#pool, this.#instanceKey, served);
    this.#saved = list;
    this.#savedMs = nowMs;
    return isNew;
  }
}
