// Whatever it costs, it may take a twentieth of the time.
const restFactor = 20;

/** Says when something may be done again that is quick as a rule and slow while the database is full of dead rows. */
export class Pace {
  #notBeforeMs = 0;

  isDue(nowMs: number): boolean {
    return nowMs >= this.#notBeforeMs;
  }

  took(durationMs: number, nowMs: number): void {
    this.#notBeforeMs = nowMs + restFactor * durationMs;
  }
}
