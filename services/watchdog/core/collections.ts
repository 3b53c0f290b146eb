/** Executions of the agent by then, and what was in use. */
export type Collection = readonly [at: number, bytes: number];

const capacity = 64;
const leastGrowth = 1.5;

/**
 * The heap of an agent after its major collections. They are hundreds of executions apart, and the rarer the larger the heap is, so
 * they are too few for a test of their own; but what remains after them is in use, which resident memory need not be.
 */
export class Collections {
  #all: Collection[];
  #latest: number;

  constructor(all: readonly Collection[] = []) {
    this.#all = [...all];
    this.#latest = all.at(-1)?.[1] ?? 0;
  }

  get size(): number {
    return this.#all.length;
  }

  /** The same figure again is the last collection, told once more. */
  add(at: number, bytes: number): void {
    if (bytes <= 0 || bytes === this.#latest) return;
    this.#latest = bytes;
    if (this.#all.length === capacity) this.#all = this.#all.filter((_, i) => i % 2 === 1);
    this.#all.push([at, bytes]);
  }

  /**
   * Whether the smaller of the last two is half as much again as the one at a quarter of the agent's life, and more by
   * `leastBytes`.
   */
  grewBy(leastBytes: number, executions: number): boolean {
    const found = this.#all.findLastIndex(([at]) => at <= executions / 4);
    const then = Math.max(found, 0);
    const since = this.#all.slice(then + 1).slice(-2);
    if (since.length === 0) return false;
    const before = this.#all[then]![1];
    const now = Math.min(...since.map(([, bytes]) => bytes));
    return now >= leastGrowth * before && now - before >= leastBytes;
  }

  toJSON(): readonly Collection[] {
    return [...this.#all];
  }
}
