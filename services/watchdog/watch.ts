import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";
import type { Clock } from "#libs/clock/clock.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Rings } from "./core/rings.ts";
import type { Acting } from "./engine/acting.ts";
import type { Judging } from "./engine/judging.ts";
import type { Leadership } from "./engine/leadership.ts";
import type { Promoting } from "./engine/promoting.ts";
import type { Versions } from "./engine/versions.ts";
import { type JudgedTrial, readJudged } from "./sql/trials.ts";
import { readSamples, type StoredSample } from "./sql/read-samples.ts";

export interface WatchOptions {
  readonly pool: ConnectionPool;
  readonly rings: Rings;
  readonly versions: Versions;
  readonly leadership: Leadership;
  readonly judging: Judging;
  readonly acting: Acting;
  readonly promoting: Promoting;
  readonly onSample: (stored: StoredSample) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly everyMs: number;
}

const pageSize = 2_000;
/** What is judged again after a crash. Trials of 30 KB each are written. */
const saveEveryMs = 1_000;

/** Reads the executions as they are stored, by whichever replica; and, in the replica that leads, judges them and acts. */
export class Watch {
  readonly #options: WatchOptions;
  readonly ticker: Ticker;
  /** The last sample that is in the rings. */
  #position = 0n;
  #leads = false;
  #savedMs = -Infinity;
  #unsaved = false;

  constructor(options: WatchOptions) {
    this.#options = options;
    const { everyMs, clock, log } = options;
    // The host says that Postgres is away; nobody needs to hear it from each loop.
    const tick = (signal: AbortSignal) => this.#tick(signal).catch(unlessDisconnected);
    this.ticker = new Ticker({ name: "judging", everyMs, tick, clock, log });
  }

  /** Resolves when everything that was stored before is in the rings, and judged if this replica leads. */
  async catchUp(): Promise<void> {
    await this.ticker.tick();
  }

  get leads(): boolean {
    return this.#leads;
  }

  /** Everything up to that sample was loaded. */
  loaded(position: bigint): void {
    this.#position = position;
  }

  /** The last trial of each version and capability, by name, version and capability; an empty name stands for all. */
  async judged(namespace: string, name: string, limit: number): Promise<JudgedTrial[]> {
    const { pool, judging } = this.#options;
    if (!this.#leads) return await readJudged(pool, namespace, name, limit);
    const trials = [...judging.trials.list(namespace, name)];
    return trials.toSorted((a, b) => compare(sortKey(a), sortKey(b))).slice(0, limit);
  }

  async #tick(signal: AbortSignal): Promise<void> {
    const { leadership, judging, acting, promoting } = this.#options;
    const leads = await leadership.holds();
    if (leads && !this.#leads) await this.#catchUp(await judging.begin());
    this.#leads = leads;
    while ((await this.#page()) && !signal.aborted);
    if (!leads) return;
    const found = await judging.conclude();
    if (found || (this.#unsaved && performance.now() - this.#savedMs >= saveEveryMs)) {
      // Whoever leads now has begun from what was written; so do we, if we ever lead again.
      this.#leads = await judging.save();
      this.#savedMs = performance.now();
      this.#unsaved = false;
    }
    if (!this.#leads) return;
    await acting.tick();
    await promoting.tick();
  }

  /** What was not written down when the last one stopped leading is judged again. */
  async #catchUp(from: bigint): Promise<void> {
    let after = from;
    while (after < this.#position) {
      const page = await readSamples(this.#options.pool, after, pageSize);
      const last = page.at(-1);
      if (last === undefined) break;
      await this.#judge(page.filter(({ sampleId }) => sampleId <= this.#position));
      after = last.sampleId;
    }
  }

  /** @returns whether there may be more. */
  async #page(): Promise<boolean> {
    const { pool, rings, onSample } = this.#options;
    const page = await readSamples(pool, this.#position, pageSize);
    for (const stored of page) {
      onSample(stored);
      rings.push(stored.subject, stored);
    }
    const last = page.at(-1);
    if (last !== undefined) this.#position = last.sampleId;
    if (this.#leads) await this.#judge(page);
    return page.length === pageSize;
  }

  async #judge(page: readonly StoredSample[]): Promise<void> {
    const { versions, judging } = this.#options;
    if (page.length === 0) return;
    await versions.refresh(page.map(({ subject }) => subject));
    for (const stored of page) judging.observe(stored);
    this.#unsaved = true;
  }
}

const sortKey = ({ name, version, capability }: JudgedTrial): string => [name, version, capability].join("\0");
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function unlessDisconnected(error: unknown): void {
  if (!isConnectionFailure(error)) throw error;
}
