import type { Clock } from "#libs/clock/clock.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { countAllAgents } from "../sql/count-all-agents.ts";
import { type HeldRow, listHeld } from "../sql/list-held.ts";
import type { Registry } from "./registry.ts";
import { unlessAway } from "#libs/db/unless-away.ts";

export interface UpkeepOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Logger;
}

// A count of 10,000 agents takes Postgres about 2 ms.
const countEveryMs = 1_000;
const compareEveryMs = 30_000;

/** Keeps what follows from the rows in step with them. */
export class Upkeep {
  readonly count: Ticker;
  readonly compare: Ticker;
  readonly #registry: Registry;
  #strays = new Set<string>();

  constructor({ registry, clock, log }: UpkeepOptions) {
    this.#registry = registry;
    const count = () => unlessAway(() => this.#count());
    this.count = new Ticker({ name: "counting agents", everyMs: countEveryMs, tick: count, clock, log });
    const compare = () => unlessAway(() => this.#compare());
    this.compare = new Ticker({ name: "comparing sessions", everyMs: compareEveryMs, tick: compare, clock, log });
  }

  async #count(): Promise<void> {
    const { pool, sessions, metrics } = this.#registry;
    const totals = await countAllAgents(pool);
    metrics.totals = totals;
    sessions.homes.tellCounts(totals);
  }

  /**
   * A row without its session is what is left when the connection broke during the commit of a hello and the agent did not
   * come back. One that is there for two looks is no hello under way.
   */
  async #compare(): Promise<void> {
    const { pool, registryId, sessions, store, log } = this.#registry;
    const rows = await listHeld(pool, registryId);
    const strays = rows.filter(({ session_id }) => sessions.find(session_id) === undefined);
    const before = this.#strays;
    this.#strays = new Set(strays.map(keyOf));
    for (const row of strays) {
      if (!before.has(keyOf(row))) continue;
      const reason = "its hello was not answered and it did not come back";
      if (!(await sessions.homes.endUnknown(row.session_id, reason))) continue;
      log.warn("ended a session that nobody held", { agent_id: row.agent_id, session_id: row.session_id });
      const { namespace, agent_id: agentId, session_id: sessionId, epoch } = row;
      store.save({ namespace, agentId, sessionId, epoch, suspended: false, draining: false, endReason: reason });
    }
  }
}

const keyOf = ({ session_id, epoch }: HeldRow): string => `${session_id} ${epoch}`;
