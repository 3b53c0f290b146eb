import type { Side } from "./trial.ts";

export interface PairingState {
  readonly side: Side;
  /** Oldest first. */
  readonly waiting: readonly number[];
}

export const pairingCapacity = 256;

/**
 * Gives each number of one side a partner of the other, the newest that waits, so that both are of about the same time. Each is
 * used once at most; of more than 256 that wait the oldest are forgotten. Who is paired does not depend on the numbers:
 * otherwise the sign of a difference would not be fair.
 */
export class Pairing {
  readonly #waiting = new Float64Array(pairingCapacity);
  #side: Side = "canary";
  #first = 0;
  #size = 0;

  constructor(state?: PairingState) {
    if (state === undefined) return;
    this.#side = state.side;
    this.#size = state.waiting.length;
    this.#waiting.set(state.waiting);
  }

  /** Its partner, which waits no longer; NaN: it waits itself. */
  match(side: Side, value: number): number {
    if (this.#size > 0 && side !== this.#side) {
      return this.#waiting[(this.#first + --this.#size) % pairingCapacity]!;
    }
    this.#side = side;
    this.#waiting[(this.#first + this.#size) % pairingCapacity] = value;
    if (this.#size < pairingCapacity) this.#size++;
    else this.#first = (this.#first + 1) % pairingCapacity;
    return NaN;
  }

  /** Those of a side that wait, oldest first. Whatever waits is forgotten. */
  take(side: Side): readonly number[] {
    const { waiting } = this.toJSON();
    this.#size = 0;
    return side === this.#side ? waiting : [];
  }

  toJSON(): PairingState {
    const waiting = Array.from({ length: this.#size }, (_, i) => this.#waiting[(this.#first + i) % pairingCapacity]!);
    return { side: this.#side, waiting };
  }
}
