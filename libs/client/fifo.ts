/** A queue whose `shift` does not move the rest. */
export class Fifo<Item> {
  #items: Item[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  shift(): Item | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#head++];
    // In halves, so that each item is copied once.
    if (this.#head * 2 >= this.#items.length) this.#items = this.clear();
    return item;
  }

  /** Takes all that is left. */
  clear(): Item[] {
    const left = this.#items.slice(this.#head);
    this.#items = [];
    this.#head = 0;
    return left;
  }
}
