import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Session } from "#libs/db/session.ts";
import { stillThere, tryToLead } from "../sql/lead.ts";

/**
 * Which of several replicas judges and acts: the one whose connection holds the lock. When the connection breaks the lock is
 * gone, and noticed to be gone at the next question.
 */
export class Leadership implements AsyncDisposable {
  readonly #pool: ConnectionPool;
  #session: Session | undefined;

  constructor(pool: ConnectionPool) {
    this.#pool = pool;
  }

  /** Whether this process leads now. Rejects when Postgres is away. */
  async holds(): Promise<boolean> {
    const session = this.#session ?? (await this.#pool.getSession());
    try {
      if (this.#session !== undefined) await session.run(stillThere);
      else if ((await session.run(tryToLead))[0]?.held === true) this.#session = session;
      else session.release();
    } catch (error) {
      this.#session = undefined;
      session.discard();
      session.release();
      throw error;
    }
    return this.#session !== undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Closing the connection is what gives the lock back.
    this.#session?.discard();
    this.#session?.release();
    this.#session = undefined;
    return Promise.resolve();
  }
}
