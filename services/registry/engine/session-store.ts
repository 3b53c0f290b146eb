import { Batcher } from "#libs/db/batcher.ts";
import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { backoffDelayMs } from "#libs/clock/backoff.ts";
import type { Clock } from "#libs/clock/clock.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { type Opened, type Opening, openSessions } from "../sql/open-sessions.ts";
import { fenced } from "./session-errors.ts";
import { saveSessions, type SessionState } from "../sql/save-sessions.ts";

export interface SessionStoreOptions {
  readonly pool: ConnectionPool;
  readonly registryId: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const savesAtOnce = 500;
const retry = { initialMs: 100, maxMs: 2_000 };

/**
 * The rows of this Registry's sessions. One statement is under way at a time, in the order of what happened: what was to be
 * written down about a session before a hello is written before that hello's session is opened.
 */
export class SessionStore {
  readonly #options: SessionStoreOptions;
  readonly #batcher: Batcher<Opening | undefined, Opened | undefined>;
  /** The newest state of each session that is not yet written. It waits for as long as Postgres is away. */
  readonly #unsaved = new Map<string, SessionState>();
  #failures = 0;
  #retrying: Disposable | undefined;
  #saving = false;

  constructor(options: SessionStoreOptions) {
    this.#options = options;
    // 200 hellos with capabilities and labels are about 100 KiB of statement.
    this.#batcher = new Batcher({ maxItems: 200, run: (items) => this.#run(items) });
  }

  /** @throws SESSION_FENCED if a newer session has replaced the one asked for; what the statement threw */
  async open(opening: Opening): Promise<Opened> {
    const opened = await this.#batcher.add(opening);
    if (opened === undefined) throw fenced();
    return opened;
  }

  /** Writes it down soon, and again until it is written. A later state of the same session replaces it. */
  save(state: SessionState): void {
    this.#unsaved.set(state.sessionId, state);
    this.#nudge();
  }

  /** Resolves when nothing is under way any more; what could not be written is given up. */
  async drain(): Promise<void> {
    await this.#batcher.drain();
    this.#retrying?.[Symbol.dispose]();
  }

  #nudge(): void {
    if (this.#saving || this.#retrying !== undefined) return;
    this.#saving = true;
    this.#batcher.push(undefined, () => {});
  }

  async #run(items: (Opening | undefined)[]): Promise<(Opened | undefined)[]> {
    this.#saving = false;
    await this.#saveAll();
    const results: (Opened | undefined)[] = Array.from(items, () => undefined);
    let round = [...items.keys()].filter((index) => items[index] !== undefined);
    while (round.length > 0) {
      // An agent that says hello twice in one batch gets its two sessions one after the other.
      const agents = new Set<string>();
      const later: number[] = [];
      const now: number[] = [];
      for (const index of round) {
        const { namespace, agentId } = items[index]!;
        const key = `${namespace} ${agentId}`;
        (agents.has(key) ? later : now).push(index);
        agents.add(key);
      }
      const opened = await this.#open(now.map((index) => items[index]!));
      for (const [position, index] of now.entries()) results[index] = opened[position];
      round = later;
    }
    return results;
  }

  async #open(openings: Opening[]): Promise<(Opened | undefined)[]> {
    const { pool, registryId } = this.#options;
    return await this.#againAfterDeadlock(() => openSessions(pool, registryId, openings));
  }

  /** Never throws: what could not be written stays, for the next time. */
  async #saveAll(): Promise<void> {
    const { pool, registryId, log, clock } = this.#options;
    while (this.#unsaved.size > 0) {
      const states = this.#unsaved.values().take(savesAtOnce).toArray();
      try {
        await this.#againAfterDeadlock(() => saveSessions(pool, registryId, states));
      } catch (err) {
        if (!isConnectionFailure(err)) log.error("sessions could not be written down; trying again", { err });
        const delayMs = backoffDelayMs(++this.#failures, retry);
        this.#retrying ??= clock.setTimer(() => {
          this.#retrying = undefined;
          this.#nudge();
        }, delayMs);
        return;
      }
      this.#failures = 0;
      // What has changed again meanwhile is written again.
      for (const state of states) {
        if (this.#unsaved.get(state.sessionId) === state) this.#unsaved.delete(state.sessionId);
      }
    }
  }

  async #againAfterDeadlock<T>(statement: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await statement();
      } catch (error) {
        if (attempt === 3 || Reflect.get(Object(error), "code") !== "40P01") throw error;
      }
    }
  }
}
