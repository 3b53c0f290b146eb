export interface MemorySeriesState {
  readonly minima: readonly number[];
  readonly ends: readonly number[];
  readonly blockLength: number;
  readonly executions: number;
  readonly begun: number;
  /** Of the block under way; absent: nothing new was measured in it. */
  readonly least?: number;
  readonly latest: number;
  readonly sinceLook: number;
}

const firstBlockLength = 10;
const capacity = 128;
/** Twice the ten points that the trend of a half needs. */
const fewestBlocks = 20;
const blocksBetweenLooks = 8;

/**
 * The minima of consecutive blocks of an agent's memory: what remains at the bottom of a saw-tooth. A block has 10 executions or more,
 * and a measurement that is new: the same figure again is the last one, told once more (resident memory is read every 50 ms at most, and
 * what is told twice is no evidence). When there are 128 blocks, neighbours become one, so that the whole life
 * of an agent is in 64 to 128 numbers, and its looks become rarer as it grows older.
 */
export class MemorySeries {
  readonly #minima = new Float64Array(capacity);
  /** Executions by the end of each block. */
  readonly #ends = new Float64Array(capacity);
  #size = 0;
  #blockLength = firstBlockLength;
  #executions = 0;
  #begun = 0;
  #least = Infinity;
  #latest = 0;
  #sinceLook = 0;

  constructor(state?: MemorySeriesState) {
    if (state === undefined) return;
    this.#minima.set(state.minima);
    this.#ends.set(state.ends);
    this.#size = state.minima.length;
    this.#blockLength = state.blockLength;
    this.#executions = state.executions;
    this.#begun = state.begun;
    this.#least = state.least ?? Infinity;
    this.#latest = state.latest;
    this.#sinceLook = state.sinceLook;
  }

  /** Oldest first. */
  get minima(): Float64Array {
    return this.#minima.subarray(0, this.#size);
  }

  /** Executions of the agent by the end of each block. */
  get ends(): Float64Array {
    return this.#ends.subarray(0, this.#size);
  }

  /** Executions of the agent. */
  get executions(): number {
    return this.#executions;
  }

  /** Returns whether it is time to look. */
  add(bytes: number): boolean {
    this.#executions++;
    if (bytes !== this.#latest && bytes < this.#least) this.#least = bytes;
    this.#latest = bytes;
    if (this.#least === Infinity || this.#executions - this.#begun < this.#blockLength) return false;
    if (this.#size === capacity) this.#halve();
    this.#minima[this.#size] = this.#least;
    this.#ends[this.#size++] = this.#executions;
    this.#begun = this.#executions;
    this.#least = Infinity;
    this.#sinceLook++;
    if (this.#size < fewestBlocks || this.#sinceLook < blocksBetweenLooks) return false;
    this.#sinceLook = 0;
    return true;
  }

  #halve(): void {
    for (let i = 0; i < capacity / 2; i++) {
      this.#minima[i] = Math.min(this.#minima[2 * i]!, this.#minima[2 * i + 1]!);
      this.#ends[i] = this.#ends[2 * i + 1]!;
    }
    this.#size = capacity / 2;
    this.#blockLength *= 2;
    this.#sinceLook = 0;
  }

  toJSON(): MemorySeriesState {
    return {
      minima: [...this.minima],
      ends: [...this.ends],
      blockLength: this.#blockLength,
      executions: this.#executions,
      begun: this.#begun,
      ...(this.#least !== Infinity && { least: this.#least }),
      latest: this.#latest,
      sinceLook: this.#sinceLook,
    };
  }
}
