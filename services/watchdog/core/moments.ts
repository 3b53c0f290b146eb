/** A figure of the canary, and one of the control. */
export type Pair = readonly [canary: number, control: number];

export interface MomentsState {
  /** When the first of them ended. */
  readonly at: number;
  readonly pairs: readonly Pair[];
}

export const momentMs = 250;
const mostPairs = 256;

/**
 * Gathers what ended within a quarter of a second. It shares its circumstances (a process that collects garbage, compiles, waits for
 * a core or for a database is slow, or fails, for all it does then), so it is one piece of evidence and not many. If neither
 * version is worse, a moment speaks against the canary as likely as for it, like a pair.
 */
export class Moments {
  #at: number;
  #pairs: Pair[];

  constructor({ at, pairs }: MomentsState = { at: NaN, pairs: [] }) {
    this.#at = at;
    this.#pairs = [...pairs];
  }

  /**
   * @param at when it ended, in milliseconds; undefined: nobody knows, and it is a moment of its own.
   * @returns the moments that are over with it, oldest first.
   */
  add(pair: Pair, at: number | undefined): (readonly Pair[])[] {
    if (at === undefined) return [...this.#take(), [pair]];
    const isOver = !(Math.abs(at - this.#at) < momentMs);
    const over = isOver ? this.#take() : [];
    if (isOver) this.#at = at;
    if (this.#pairs.length < mostPairs) this.#pairs.push(pair);
    return over;
  }

  #take(): (readonly Pair[])[] {
    const pairs = this.#pairs;
    this.#pairs = [];
    this.#at = NaN;
    return pairs.length === 0 ? [] : [pairs];
  }

  /** Undefined when nothing is gathered. */
  toJSON(): MomentsState | undefined {
    return this.#pairs.length === 0 ? undefined : { at: this.#at, pairs: this.#pairs };
  }
}
