import type { Clock } from "#libs/clock/clock.ts";
import type { LiveSession } from "./live-session.ts";

// Most travel with the next assignment, which an outcome makes room for; the others wait this long for company.
const afterMs = 20;

/** Tells agents that their outcomes are dealt with, when no other frame does. One timer for all of them. */
export class Acknowledger {
  readonly #owing = new Set<LiveSession>();
  readonly #clock: Clock;
  readonly #write: (live: LiveSession) => void;
  #armed = false;

  constructor(clock: Clock, write: (live: LiveSession) => void) {
    this.#clock = clock;
    this.#write = write;
  }

  owe(live: LiveSession): void {
    this.#owing.add(live);
    if (!this.#armed) this.#clock.setTimer(() => this.#pay(), afterMs);
    this.#armed = true;
  }

  forget(live: LiveSession): void {
    this.#owing.delete(live);
  }

  #pay(): void {
    this.#armed = false;
    for (const live of this.#owing) if (live.isWritable && live.session.owesAcknowledgement) this.#write(live);
    this.#owing.clear();
  }
}
