/** Something that changes; whoever waits for a condition is asked again at every change. */
export class Watched {
  readonly #waiting = new Set<() => void>();

  changed(): void {
    for (const ask of [...this.#waiting]) ask();
  }

  /** The condition's first answer that is neither undefined nor false. */
  async until<T>(what: string, condition: () => T | undefined | false, timeoutMs = 15_000): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const ask = (): void => {
      const answer = condition();
      if (answer !== undefined && answer !== false) resolve(answer);
    };
    const timer = setTimeout(() => reject(new Error(`waited for ${what} in vain`)), timeoutMs);
    // Of several that were raced, the losers hold up nobody.
    timer.unref();
    this.#waiting.add(ask);
    ask();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(ask);
    }
  }
}
