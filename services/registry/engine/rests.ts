import type { Clock } from "#libs/clock/clock.ts";
import type { Rest } from "../sql/poll-changes.ts";
import type { LiveSession } from "./live-session.ts";
import type { Sessions } from "./sessions.ts";

/** Agents that were ejected: their sessions stay, and offer nothing until their rest is over. */
export class Rests {
  readonly #sessions: Sessions;
  readonly #clock: Clock;
  readonly #resting = new Set<LiveSession>();

  constructor(sessions: Sessions, clock: Clock) {
    this.#sessions = sessions;
    this.#clock = clock;
  }

  /** Somebody ejected agents, or took it back. */
  told(rests: readonly Rest[]): void {
    if (rests.length === 0) return;
    const byAgent = new Map(rests.map((rest) => [keyOf(rest), rest]));
    for (const live of this.#sessions.all()) {
      const rest = byAgent.get(keyOf(live.session.profile));
      if (rest !== undefined) this.rest(live, rest.restMs);
    }
    for (const { epoch } of rests) this.#sessions.weights.polledThrough(epoch);
  }

  rest(live: LiveSession, restMs: number): void {
    live.session.restUntilMs = restMs > 0 ? this.#clock.monotonic() + restMs : undefined;
    if (restMs > 0) this.#resting.add(live);
    else this.#resting.delete(live);
    this.#sessions.homes.update(live);
  }

  /** Ends what is over. */
  tick(): void {
    const nowMs = this.#clock.monotonic();
    for (const live of this.#resting) {
      if (live.session.phase === "over") this.#resting.delete(live);
      else if ((live.session.restUntilMs ?? 0) <= nowMs) this.rest(live, 0);
    }
  }
}

const keyOf = ({ namespace, agentId }: { namespace: string; agentId: string }) => `${namespace} ${agentId}`;
