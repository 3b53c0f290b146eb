import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import {
  dropSegment,
  forgetSessions,
  isSegmentOver,
  makeSegments,
  readSegments,
  type Segments,
} from "../sql/segments.ts";

const dayMs = 86_400_000;

/** Keeps the days' partitions: makes the next one in time, drops those that are past retention. */
export class SegmentKeeper {
  readonly #pool: ConnectionPool;
  readonly #retentionMs: number;
  readonly #log: Logger;
  #segments: Segments = { current: 0, today: 0, all: [] };

  constructor(pool: ConnectionPool, retentionMs: number, log: Logger) {
    this.#pool = pool;
    this.#retentionMs = retentionMs;
    this.#log = log;
  }

  /** Runs what stores new tasks with the segment where they go, and again if the day has changed meanwhile. */
  async withCurrent<T>(store: (segment: number) => Promise<T>): Promise<T> {
    try {
      return await store(this.#segments.current);
    } catch (error) {
      if (!isSegmentOver(error)) throw error;
      this.#segments = await readSegments(this.#pool);
      return await store(this.#segments.current);
    }
  }

  /** One round: also to be run before the first task is taken. */
  async tick(): Promise<void> {
    const before = await readSegments(this.#pool);
    const isReady = before.current >= before.today && before.all.includes(before.today + 1);
    if (!isReady) await makeSegments(this.#pool);
    this.#segments = await readSegments(this.#pool);
    const { current, all } = this.#segments;
    // A segment's last task came at its end, so it is kept for that much longer.
    const oldest = current - 1 - Math.ceil(this.#retentionMs / dayMs);
    for (const segment of all) if (segment < oldest) await this.#drop(segment, current);
  }

  async #drop(segment: number, moveTo: number): Promise<void> {
    try {
      await dropSegment(this.#pool, segment, { moveTo, retentionMs: this.#retentionMs });
      await forgetSessions(this.#pool, 2 * this.#retentionMs + dayMs);
      this.#segments = await readSegments(this.#pool);
      this.#log.info("dropped a day of finished tasks", { segment });
    } catch (error) {
      this.#log.info("could not drop a day of finished tasks yet; trying again", { segment, err: error });
    }
  }
}
