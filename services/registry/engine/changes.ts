import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { forgetTakeovers, takeoversTold } from "../sql/forget-takeovers.ts";
import { pollChanges, type Takeover, type TakeoverKind } from "../sql/poll-changes.ts";
import type { Rests } from "./rests.ts";
import type { Sessions } from "./sessions.ts";
import { unlessAway } from "#libs/db/unless-away.ts";

export interface ChangesOptions {
  readonly pool: ConnectionPool;
  readonly registryId: string;
  readonly sessions: Sessions;
  readonly rests: Rests;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Weights hold on all replicas within a second, also when a hint is lost. */
const pollEveryMs = 500;
/** A Registry that lost a session knows what the agent had received; it has this long to tell before others tell for it. */
export const takeoverGraceMs = 500;

/** Acts on what the other replicas have written down for this one. Hints make it quick, polling makes it sure. */
export class Changes {
  readonly ticker: Ticker;
  readonly #options: ChangesOptions;
  /** Ends that the Dispatchers are being told of. */
  readonly #telling = new Set<string>();

  constructor(options: ChangesOptions) {
    this.#options = options;
    const { clock, log } = options;
    this.ticker = new Ticker({
      name: "asking for changes",
      everyMs: pollEveryMs,
      tick: () => unlessAway(() => this.#poll()),
      clock,
      log,
    });
  }

  async #poll(): Promise<void> {
    const { pool, registryId, sessions } = this.#options;
    const changes = await pollChanges(pool, registryId, sessions.weights.polledEpoch, takeoverGraceMs);
    for (const change of changes.weights.toSorted((a, b) => Number(a.weightEpoch - b.weightEpoch))) {
      sessions.setWeight(change, change.weight, change.weightEpoch);
    }
    this.#options.rests.told(changes.rests);
    for (const { sessionId, reason } of changes.drains) {
      const live = sessions.find(sessionId);
      if (live !== undefined) sessions.drain(live, reason);
    }
    const done = changes.takeovers.filter((takeover) => this.#act(takeover));
    if (done.length > 0) await forgetTakeovers(pool, done);
  }

  /** @returns whether nothing is left to do, and the note of it can go. */
  #act(takeover: Takeover): boolean {
    const { sessionId, epoch, kind, mine, told } = takeover;
    const { sessions } = this.#options;
    const live = mine ? sessions.find(sessionId) : undefined;
    // A lower epoch tells of an earlier hold: the agent has come back to this Registry since.
    if (live !== undefined && live.epoch < epoch) {
      if (kind === "moved") {
        sessions.release(live);
        return true;
      }
      const [reason, message] = lostReasons[kind];
      sessions.end(live, kind, message, legionError(reason, `The session is over: ${message}.`));
      // Its Dispatcher has just been told, and exactly. The others are told at the next look, when that has arrived.
      return false;
    }
    if (mine && (told || kind === "moved")) return true;
    if (kind !== "moved") void this.#tell(takeover, lostReasons[kind][1]);
    return false;
  }

  /** A Dispatcher that has dealt with the session's end before finds nothing more to do. */
  async #tell(takeover: Takeover, message: string): Promise<void> {
    const { sessions, pool, log } = this.#options;
    const key = `${takeover.sessionId} ${takeover.epoch}`;
    if (this.#telling.has(key)) return;
    this.#telling.add(key);
    try {
      if (await sessions.homes.endUnknown(takeover.sessionId, message)) {
        await (takeover.mine ? forgetTakeovers : takeoversTold)(pool, [takeover]);
      }
    } catch (err) {
      log.debug("a session's end stays noted as untold", { err, session_id: takeover.sessionId });
    } finally {
      this.#telling.delete(key);
    }
  }
}

const lostReasons = {
  fenced: ["SESSION_FENCED", "a newer session of the agent began"],
  expired: ["SESSION_EXPIRED", "its Registry let its lease run out"],
} as const satisfies Record<Exclude<TakeoverKind, "moved">, readonly [string, string]>;
