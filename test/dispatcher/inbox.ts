/** What arrives by events, to be awaited one at a time. */
export class Inbox<T> {
  readonly #what: string;
  readonly #items: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  /** @param what is called what it lacks when one waits in vain. */
  constructor(what: string) {
    this.#what = what;
  }

  /** What has arrived and was not taken. */
  get size(): number {
    return this.#items.length;
  }

  put(item: T): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#items.push(item);
    else next(item);
  }

  /** @throws after 15 s. */
  next(): Promise<T> {
    const item = this.#items.shift();
    if (item !== undefined) return Promise.resolve(item);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(take), 1);
        reject(new Error(`Waited for ${this.#what} in vain.`));
      }, 15_000);
      const take = (arrived: T): void => {
        clearTimeout(timer);
        resolve(arrived);
      };
      this.#waiting.push(take);
    });
  }

  async take(count: number): Promise<T[]> {
    const items: T[] = [];
    while (items.length < count) items.push(await this.next());
    return items;
  }
}
