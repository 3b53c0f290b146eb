import { momentMs } from "./moments.ts";

export interface PassedState {
  readonly count: number;
  readonly at: number;
  readonly inMoment: number;
}

const mostOfMoment = 4;

/**
 * Counts executions that speak for a version: of those that ended in the same quarter of a second four at most, so that a stage is not
 * passed before what is slow or fails for a while could be told from what always does.
 */
export class Passed {
  #count: number;
  #at: number;
  #inMoment: number;

  constructor({ count, at, inMoment }: PassedState = { count: 0, at: 0, inMoment: 0 }) {
    this.#count = count;
    this.#at = at;
    this.#inMoment = inMoment;
  }

  get count(): number {
    return this.#count;
  }

  /** @param at when it ended, in milliseconds, if that is known. */
  add(at: number | undefined): void {
    if (at === undefined || Math.abs(at - this.#at) >= momentMs) {
      this.#at = at ?? 0;
      this.#inMoment = 0;
    }
    if (this.#inMoment++ < mostOfMoment) this.#count++;
  }

  toJSON(): PassedState {
    return { count: this.#count, at: this.#at, inMoment: this.#inMoment };
  }
}
