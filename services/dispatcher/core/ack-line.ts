/**
 * Turns frames that are dealt with in any order into one cumulative acknowledgement. Each frame is begun once and counts as
 * held by that; further holds keep it open until as many releases.
 */
export class AckLine {
  readonly #open = new Map<bigint, number>();
  #acked = 0n;

  /** All frames up to this number are dealt with. */
  get acked(): bigint {
    return this.#acked;
  }

  begin(seq: bigint): void {
    this.#open.set(seq, 1);
  }

  hold(seq: bigint): void {
    this.#open.set(seq, (this.#open.get(seq) ?? 0) + 1);
  }

  release(seq: bigint): void {
    const left = (this.#open.get(seq) ?? 0) - 1;
    this.#open.set(seq, left);
    // Frames come in order, so the map's order is theirs.
    for (const [first, holds] of this.#open) {
      if (holds > 0) break;
      this.#open.delete(first);
      this.#acked = first;
    }
  }
}
