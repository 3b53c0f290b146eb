import { orderInterval } from "./order-interval.ts";

export interface RecentState {
  readonly values: readonly number[];
  readonly block: number;
}

export interface MedianWithInterval {
  readonly median: number;
  /** Absent: too few to say. */
  readonly low: number | undefined;
  readonly high: number | undefined;
}

const blockSize = 50;

/**
 * The newest 50 to 100 values (all, while there are fewer): those since the end of the last block of 50 but one. So a change
 * shows in the median soon, and the interval is one of windows that were fixed beforehand.
 */
export class Recent {
  readonly #values = new Float64Array(2 * blockSize);
  #size = 0;
  #block = 0;

  constructor(state?: RecentState) {
    if (state === undefined) return;
    this.#values.set(state.values);
    this.#size = state.values.length;
    this.#block = state.block;
  }

  get size(): number {
    return this.#size;
  }

  add(value: number): void {
    if (this.#size === this.#values.length) {
      this.#values.copyWithin(0, blockSize);
      this.#size -= blockSize;
      this.#block++;
    }
    this.#values[this.#size++] = value;
  }

  mean(): number {
    return this.#values.subarray(0, this.#size).reduce((sum, value) => sum + value, 0) / this.#size;
  }

  median(): number {
    return medianOf(this.#values.slice(0, this.#size).sort());
  }

  /**
   * With an interval that holds with the probability 1 − δ at all looks at once: the window of block j = 0, 1, … has
   * δ/((j + 1)(j + 2)) of it, which sums to δ.
   */
  medianWithInterval(delta: number): MedianWithInterval {
    const sorted = this.#values.slice(0, this.#size).sort();
    const share = delta / ((this.#block + 1) * (this.#block + 2));
    return { median: medianOf(sorted), ...orderInterval(sorted, share) };
  }

  /** That of the median at one look alone. */
  intervalNow(delta: number): { readonly low: number | undefined; readonly high: number | undefined } {
    return orderInterval(this.#values.slice(0, this.#size).sort(), delta);
  }

  toJSON(): RecentState {
    return { values: [...this.#values.subarray(0, this.#size)], block: this.#block };
  }
}

/** NaN of nothing. */
export function medianOf(sorted: Float64Array): number {
  const upper = sorted.length >> 1;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 === 1 ? sorted[upper]! : (sorted[upper - 1]! + sorted[upper]!) / 2;
}
