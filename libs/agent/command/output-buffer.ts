/** What a command writes, up to a limit; what comes after is dropped. */
export class OutputBuffer {
  readonly #maxBytes: number;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  /** Bytes that came, the dropped ones too. */
  received = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Returns whether the limit holds. */
  add(chunk: Buffer): boolean {
    this.received += chunk.length;
    const kept = chunk.subarray(0, this.#maxBytes - this.#bytes);
    this.#chunks.push(kept);
    this.#bytes += kept.length;
    return this.received <= this.#maxBytes;
  }

  /** As UTF-8; what is not becomes U+FFFD. */
  text(): string {
    return Buffer.concat(this.#chunks).toString();
  }
}
