import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Counts } from "./counts.ts";
import { type CleaningPosition, cleanBuckets, cleanLeases, cleanReservations } from "./sql/clean.ts";

// A statement of a few milliseconds, so that nobody waits long for a row it has locked.
const maxRows = 2_000;
// 20,000 rows a second at the default interval; what is left is for the next rounds.
const maxStatements = 10;

/** Deletes what says nothing any more: full buckets, expired leases, old reservations. */
export class Cleaner {
  readonly #pool: ConnectionPool;
  readonly #counts: Counts;
  readonly #retentionMs: number;
  #position: CleaningPosition | undefined;

  constructor(pool: ConnectionPool, counts: Counts, retentionMs: number) {
    this.#pool = pool;
    this.#counts = counts;
    this.#retentionMs = retentionMs;
  }

  async tick(): Promise<void> {
    await this.#whileFull("leases", () => cleanLeases(this.#pool, maxRows));
    await this.#whileFull("reservations", () => cleanReservations(this.#pool, this.#retentionMs, maxRows));
    for (let i = 0; i < maxStatements; i++) {
      const { next, deleted } = await cleanBuckets(this.#pool, this.#position, maxRows);
      this.#counts.cleaned("buckets", deleted);
      this.#position = next;
      if (next === undefined) return;
    }
  }

  async #whileFull(what: "leases" | "reservations", clean: () => Promise<number>): Promise<void> {
    for (let i = 0; i < maxStatements; i++) {
      const count = await clean();
      this.#counts.cleaned(what, count);
      if (count < maxRows) return;
    }
  }
}
