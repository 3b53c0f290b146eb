import { toError } from "./errors.ts";

export interface BatcherOptions<Item, Result> {
  /** The most items of a batch. Default 500: 56,000 tasks/s in one statement against 40,000 with 100. */
  readonly maxItems?: number;
  /** The most bytes of a batch by `sizeOf`; an item that is larger goes alone. Default: no limit. */
  readonly maxBytes?: number;
  readonly sizeOf?: (item: Item) => number;
  /** How many batches run at a time. Default 1, which also keeps them in order. */
  readonly concurrency?: number;
  /** Handles a batch and returns one result for each item, in their order. Its error is the error of each of them. */
  readonly run: (items: Item[]) => Promise<Result[]>;
}

export type BatchCallback<Result> = (error: Error | null, result: Result | undefined) => void;

/**
 * Group commit: what arrives while a batch runs goes into the next one, so that batches grow with the load and a lone item
 * waits for nobody. Items are taken in the order they came. A failed batch fails its own items alone, and nothing is
 * repeated. The queue has no limit of its own: `size` is for whoever admits.
 */
export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>;
  readonly #maxItems: number;
  readonly #concurrency: number;
  #items: Item[] = [];
  #callbacks: BatchCallback<Result>[] = [];
  /** Where the queue begins in the two arrays above. */
  #head = 0;
  #running = 0;
  #handling = 0;
  #scheduled = false;
  #idle: PromiseWithResolvers<void> | undefined;

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options;
    this.#maxItems = options.maxItems ?? 500;
    this.#concurrency = options.concurrency ?? 1;
    if ((options.maxBytes === undefined) !== (options.sizeOf === undefined)) {
      throw new Error("maxBytes and sizeOf go together.");
    }
  }

  /** Items that wait or are being handled. */
  get size(): number {
    return this.#items.length - this.#head + this.#handling;
  }

  add(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.push(item, (error, result) => {
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- undefined only if it is a Result
        if (error === null) resolve(result as Result);
        else reject(error);
      });
    });
  }

  /** `add` without a promise. What the callback throws is an uncaught exception, after the others were called. */
  push(item: Item, callback: BatchCallback<Result>): void {
    this.#items.push(item);
    this.#callbacks.push(callback);
    if (this.#scheduled || this.#running >= this.#concurrency) return;
    this.#scheduled = true;
    setImmediate(this.#startAll);
  }

  /** Resolves when nothing waits or runs any more, whether it succeeded or failed. */
  drain(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return (this.#idle ??= Promise.withResolvers()).promise;
  }

  readonly #startAll = (): void => {
    this.#scheduled = false;
    while (this.#running < this.#concurrency && this.#head < this.#items.length) void this.#runBatch();
  };

  async #runBatch(): Promise<void> {
    const end = this.#endOfBatch();
    const items = this.#items.slice(this.#head, end);
    const callbacks = this.#callbacks.slice(this.#head, end);
    this.#forget(end);
    this.#running++;
    this.#handling += items.length;
    let results: Result[] = [];
    let failure: Error | null = null;
    try {
      results = await this.#options.run(items);
      if (results.length !== items.length) {
        throw new Error(`A batch of ${items.length} items got ${results.length} results`);
      }
    } catch (error) {
      failure = toError(error);
      results = [];
    }
    this.#running--;
    this.#handling -= items.length;
    // The next statement leaves before the answers to this one are handed out, and Postgres does not wait for us.
    this.#startAll();
    for (let i = 0; i < callbacks.length; i++) {
      try {
        callbacks[i]!(failure, results[i]);
      } catch (error) {
        process.nextTick(() => {
          throw error;
        });
      }
    }
    if (this.#idle !== undefined && this.size === 0) {
      this.#idle.resolve();
      this.#idle = undefined;
    }
  }

  #endOfBatch(): number {
    const { maxBytes, sizeOf } = this.#options;
    const limit = Math.min(this.#items.length, this.#head + this.#maxItems);
    if (maxBytes === undefined || sizeOf === undefined) return limit;
    let bytes = 0;
    for (let i = this.#head; i < limit; i++) {
      bytes += sizeOf(this.#items[i]!);
      if (bytes > maxBytes && i > this.#head) return i;
    }
    return limit;
  }

  #forget(end: number): void {
    if (end === this.#items.length) {
      this.#items = [];
      this.#callbacks = [];
      this.#head = 0;
    } else if (end > 16_384) {
      // A queue that never runs empty must not keep what it has handled.
      this.#items = this.#items.slice(end);
      this.#callbacks = this.#callbacks.slice(end);
      this.#head = 0;
    } else {
      this.#head = end;
    }
  }
}
