export interface OrderedWindowOptions {
  /** Takes finished texts, in order. A promise is waited for, and meanwhile nothing further is written. */
  readonly write: (text: string) => void | Promise<void>;
  /** Most entries begun and not yet written. */
  readonly maxEntries: number;
  /** Most bytes of inputs under way and results that wait for their turn; a single larger entry passes alone. */
  readonly maxBytes: number;
}

interface Entry {
  bytes: number;
  text: string | undefined;
}

/**
 * Writes the results of concurrent work in the order in which it was begun. Whoever begins work waits for `room`, so
 * that what is held stays bounded however uneven the work is.
 */
export class OrderedWindow {
  readonly #options: OrderedWindowOptions;
  #entries: Entry[] = [];
  #head = 0;
  #bytes = 0;
  #writing: Promise<void> | undefined;
  #waiting: { resolve: () => void; reject: (error: unknown) => void; done: () => boolean } | undefined;
  #failure: { error: unknown } | undefined;

  constructor(options: OrderedWindowOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#entries.length - this.#head;
  }

  /** Resolves when another entry may begin; undefined when it may at once. Rejects with what `write` threw. */
  room(): Promise<void> | undefined {
    return this.#until(() => this.length < this.#options.maxEntries && this.#bytes < this.#options.maxBytes);
  }

  /** Resolves when everything begun is written. Rejects with what `write` threw. */
  async empty(): Promise<void> {
    await this.#until(() => this.length === 0 && this.#writing === undefined);
  }

  /** The next entry, which holds `bytes` until it is finished; the function returned finishes it with its text. */
  begin(bytes: number): (text: string) => void {
    const entry: Entry = { bytes, text: undefined };
    this.#entries.push(entry);
    this.#bytes += bytes;
    return (text) => {
      entry.text = text;
      this.#bytes += text.length - entry.bytes;
      entry.bytes = text.length;
      if (entry === this.#entries[this.#head]) this.#writeSoon();
    };
  }

  #until(done: () => boolean): Promise<void> | undefined {
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    if (done()) return undefined;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting = { resolve, reject, done };
    return promise;
  }

  #writeSoon(): void {
    this.#writing ??= this.#writeFinished();
  }

  async #writeFinished(): Promise<void> {
    // All that one turn of the event loop finishes shares one write.
    await new Promise(setImmediate);
    try {
      for (let text = this.#takeFinished(); text !== ""; text = this.#takeFinished()) await this.#options.write(text);
    } catch (error) {
      this.#failure = { error };
      this.#waiting?.reject(error);
    }
    this.#writing = undefined;
    this.#wake();
  }

  #takeFinished(): string {
    let text = "";
    for (let entry = this.#entries[this.#head]; entry?.text !== undefined; entry = this.#entries[this.#head]) {
      text += `${entry.text}\n`;
      this.#bytes -= entry.bytes;
      this.#head++;
    }
    // Seldom enough that moving the rest costs nothing, often enough that the array stays small.
    if (this.#head > 1_000) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
    this.#wake();
    return text;
  }

  #wake(): void {
    const waiting = this.#waiting;
    if (waiting === undefined || !waiting.done()) return;
    this.#waiting = undefined;
    waiting.resolve();
  }
}
