import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Matcher } from "../core/matcher.ts";
import { saveServed } from "../sql/rounds.ts";
import type { RouteTable } from "./route-table.ts";
import type { HomeSession } from "./session.ts";

/**
 * Tells all replicas which routes this one's sessions can run: a task that nobody can run takes no slot of a concurrency limit
 * from those that can.
 */
export class ServedRoutes {
  readonly #pool: ConnectionPool;
  readonly #instanceKey: number;
  readonly #routes: RouteTable;
  readonly #matcher: Matcher<HomeSession>;
  #saved = "";

  constructor(parts: { pool: ConnectionPool; instanceKey: number; routes: RouteTable; matcher: Matcher<HomeSession> }) {
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
    if (list === this.#saved) return false;
    await saveServed(this.#pool, this.#instanceKey, served);
    this.#saved = list;
    return true;
  }
}
