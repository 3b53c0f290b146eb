import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { nextDueDelayMs, releaseDue } from "../sql/release-due.ts";
import { Pace } from "../core/pace.ts";
import type { LiveRoute, RouteTable } from "./route-table.ts";

const releasedAtOnce = 1_000;
// Others schedule tasks too, so nobody rests for longer than this.
const longestRestMs = 1_000;
// Times are judged by Postgres's clock and made by several.
const clockSkewMs = 60_000;

/** Moves tasks into the queue when their time has come: of a schedule, or of the end of a retry's rest. */
export class DueTimer implements Disposable {
  readonly #pool: ConnectionPool;
  readonly #clock: Clock;
  readonly #routes: RouteTable;
  readonly #onQueued: (route: LiveRoute, rank: number, taskKey: number) => void;
  readonly #onParked: () => void;
  readonly #onError: (error: unknown) => void;
  readonly #pace = new Pace();
  #fromMs = 0;
  #timer: Disposable | undefined;
  #nextMs = Infinity;
  #running = false;
  #stopped = false;

  constructor(parts: {
    pool: ConnectionPool;
    clock: Clock;
    routes: RouteTable;
    onQueued: (route: LiveRoute, rank: number, taskKey: number) => void;
    onParked: () => void;
    onError: (error: unknown) => void;
  }) {
    this.#pool = parts.pool;
    this.#clock = parts.clock;
    this.#routes = parts.routes;
    this.#onQueued = parts.onQueued;
    this.#onParked = parts.onParked;
    this.#onError = parts.onError;
  }

  /** A task is due that long from now. */
  expect(delayMs: number): void {
    if (this.#stopped) return;
    const atMs = this.#clock.monotonic() + Math.min(Math.max(1, delayMs), longestRestMs);
    if (atMs >= this.#nextMs) return;
    this.#nextMs = atMs;
    // The round that is under way may not have seen it.
    if (this.#running) return;
    this.#timer?.[Symbol.dispose]();
    this.#timer = this.#clock.setTimer(() => void this.#run(), atMs - this.#clock.monotonic());
  }

  /** Releases all that is due. */
  async tick(): Promise<void> {
    const [startMs, nowMs] = [this.#clock.monotonic(), this.#clock.now()];
    // Entries that are gone but not yet vacuumed away are stepped over, as in the queue.
    const looksAtAll = this.#pace.isDue(startMs);
    if (looksAtAll) this.#fromMs = 0;
    await this.#release();
    this.#fromMs = nowMs - clockSkewMs;
    const endMs = this.#clock.monotonic();
    if (looksAtAll) this.#pace.took(endMs - startMs, endMs);
  }

  async #release(): Promise<void> {
    for (;;) {
      const released = await releaseDue(this.#pool, releasedAtOnce, this.#fromMs);
      for (const { route_key, rank, task_key, lane_key } of released) {
        if (lane_key !== null) {
          this.#onParked();
          continue;
        }
        const route = this.#routes.get(route_key);
        if (route !== undefined) this.#onQueued(route, rank, task_key);
      }
      if (released.length < releasedAtOnce) return;
    }
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    this.#timer?.[Symbol.dispose]();
  }

  async #run(): Promise<void> {
    this.#running = true;
    this.#nextMs = Infinity;
    let restMs = longestRestMs;
    try {
      await this.tick();
      restMs = (await nextDueDelayMs(this.#pool, this.#fromMs)) ?? longestRestMs;
    } catch (error) {
      this.#onError(error);
    }
    this.#running = false;
    const expectedMs = this.#nextMs - this.#clock.monotonic();
    this.#nextMs = Infinity;
    this.expect(Math.min(restMs, expectedMs));
  }
}
