import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { LimitSet } from "./core/limit-set.ts";
import { readLimits, readRevision } from "./sql/limits.ts";

/**
 * The limits as this process last saw them. A decision about a limit compares the revision again inside its transaction, so
 * an old copy costs a second round trip and never a wrong decision.
 */
export class LimitsCache {
  readonly #pool: ConnectionPool;
  #current = new LimitSet(0n, []);
  #loading: Promise<LimitSet> | undefined;

  constructor(pool: ConnectionPool) {
    this.#pool = pool;
  }

  get current(): LimitSet {
    return this.#current;
  }

  /** Asks for the revision, and for the limits if it is another. */
  async refresh(): Promise<LimitSet> {
    const revision = await readRevision(this.#pool);
    return revision === this.#current.revision ? this.#current : await this.reload();
  }

  /** Reads all limits. Calls made meanwhile share a reading that begins after them. */
  async reload(): Promise<LimitSet> {
    const under = this.#loading;
    if (under !== undefined) {
      await under.catch(() => {});
      if (this.#loading !== undefined) return await this.#loading;
    }
    this.#loading = this.#read();
    try {
      return await this.#loading;
    } finally {
      this.#loading = undefined;
    }
  }

  async #read(): Promise<LimitSet> {
    const { revision, limits } = await readLimits(this.#pool, "");
    this.#current = new LimitSet(revision, limits);
    return this.#current;
  }
}
