import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { abandonedLeases, leaseKeys, leasesOf } from "../sql/find-leases.ts";
import type { Finisher } from "./finisher.ts";
import type { Home } from "./home.ts";
import type { Instance } from "./instance.ts";
import type { LeaseBook } from "./lease-book.ts";

// A lease is in the book within milliseconds of its commit; this much later it was forgotten by a broken connection.
const unheldAfterMs = 5_000;
const rescuedAtOnce = 1_000;

/** Finds leases that nobody holds, and gives their tasks back to the queue. */
export class Rescuer {
  readonly #pool: ConnectionPool;
  readonly #log: Logger;
  readonly #instance: Instance;
  readonly #leases: LeaseBook;
  readonly #home: Home;
  readonly #finisher: Finisher;
  readonly #graceMs: number;
  /** Tasks whose leases nobody held at the last look. */
  #suspects = new Set<number>();

  constructor(parts: {
    pool: ConnectionPool;
    log: Logger;
    instance: Instance;
    leases: LeaseBook;
    home: Home;
    finisher: Finisher;
    graceMs: number;
  }) {
    this.#pool = parts.pool;
    this.#log = parts.log;
    this.#instance = parts.instance;
    this.#leases = parts.leases;
    this.#home = parts.home;
    this.#finisher = parts.finisher;
    this.#graceMs = parts.graceMs;
  }

  /**
   * Leases of this instance that it does not know of: the statement that made them was committed and its answer was lost; or
   * their session's link was lost, and no Registry brought the session back in time.
   */
  async returnUnheld(): Promise<void> {
    const { instanceKey } = this.#instance;
    using ending = this.#finisher.follow();
    const isHeld = (taskKey: number): boolean => this.#leases.byKey(taskKey) !== undefined || ending.has(taskKey);
    const unheld = (await leaseKeys(this.#pool, instanceKey, unheldAfterMs)).filter((taskKey) => !isHeld(taskKey));
    // Twice in a row, in case the answer to the statement that made the lease is still under way.
    const sure = unheld.filter((taskKey) => this.#suspects.has(taskKey)).slice(0, rescuedAtOnce);
    this.#suspects = new Set(unheld);
    const rows = sure.length > 0 ? await leasesOf(this.#pool, instanceKey, sure) : [];
    await Promise.all(
      rows.map(async (row) => {
        if (isHeld(row.taskKey)) return;
        const absentMs = this.#home.absenceMs(row.sessionKey);
        if (absentMs === 0) await this.#home.rescue(row, undefined);
        else if (absentMs > this.#graceMs)
          await this.#home.rescue(row, "its Registry is gone and it did not come back");
      }),
    );
    this.#home.forgetAway(this.#graceMs);
  }

  /** Leases whose home is gone and whose sessions found no other. */
  async rescueAbandoned(): Promise<void> {
    if (!this.#instance.mayJudge) return;
    using ending = this.#finisher.follow();
    const rows = (await abandonedLeases(this.#pool)).filter(({ taskKey }) => !ending.has(taskKey));
    await Promise.all(rows.map((row) => this.#home.rescue(row, "its Dispatcher is gone and it did not come back")));
    if (rows.length > 0) this.#log.info("rescued tasks whose Dispatcher is gone", { tasks: rows.length });
  }
}
