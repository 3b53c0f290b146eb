export interface MemorySeriesState {
  readonly heap: boolean;
  readonly minima: readonly number[];
  readonly blockLength: number;
  /** Of the block under way; absent: it is empty. */
  readonly least?: number;
  readonly inBlock: number;
  readonly sinceLook: number;
}

const firstBlockLength = 10;
const capacity = 128;
/** Twice the ten points that the trend of a half needs. */
const fewestBlocks = 20;
const blocksBetweenLooks = 8;

/**
 * The minima of consecutive blocks of an agent's memory: what remains at the bottom of a saw-tooth. They begin with blocks of 10
 * executions; when there are 128, neighbours become one, so that the whole life of an agent is in 64 to 128 numbers, and its looks
 * become rarer as it grows older.
 */
export class MemorySeries {
  #heap = false;
  readonly #minima = new Float64Array(capacity);
  #size = 0;
  #blockLength = firstBlockLength;
  #least = Infinity;
  #inBlock = 0;
  #sinceLook = 0;

  constructor(state?: MemorySeriesState) {
    if (state === undefined) return;
    this.#heap = state.heap;
    this.#minima.set(state.minima);
    this.#size = state.minima.length;
    this.#blockLength = state.blockLength;
    this.#least = state.least ?? Infinity;
    this.#inBlock = state.inBlock;
    this.#sinceLook = state.sinceLook;
  }

  /** Oldest first. */
  get minima(): Float64Array {
    return this.#minima.subarray(0, this.#size);
  }

  /** Executions in a block. */
  get blockLength(): number {
    return this.#blockLength;
  }

  /** Returns whether it is time to look. An agent that reports its heap is judged by that alone from then on. */
  add(memoryBytes: number, heapBytes: number): boolean {
    if (heapBytes > 0 && !this.#heap) this.#restart();
    const bytes = this.#heap ? heapBytes : memoryBytes;
    if (bytes <= 0) return false;
    if (bytes < this.#least) this.#least = bytes;
    if (++this.#inBlock < this.#blockLength) return false;
    if (this.#size === capacity) this.#halve();
    this.#minima[this.#size++] = this.#least;
    this.#least = Infinity;
    this.#inBlock = 0;
    this.#sinceLook++;
    if (this.#size < fewestBlocks || this.#sinceLook < blocksBetweenLooks) return false;
    this.#sinceLook = 0;
    return true;
  }

  #halve(): void {
    for (let i = 0; i < capacity / 2; i++) this.#minima[i] = Math.min(this.#minima[2 * i]!, this.#minima[2 * i + 1]!);
    this.#size = capacity / 2;
    this.#blockLength *= 2;
    this.#sinceLook = 0;
  }

  #restart(): void {
    this.#heap = true;
    this.#size = 0;
    this.#blockLength = firstBlockLength;
    this.#least = Infinity;
    this.#inBlock = 0;
    this.#sinceLook = 0;
  }

  toJSON(): MemorySeriesState {
    return {
      heap: this.#heap,
      minima: [...this.minima],
      blockLength: this.#blockLength,
      ...(this.#inBlock > 0 && { least: this.#least }),
      inBlock: this.#inBlock,
      sinceLook: this.#sinceLook,
    };
  }
}
