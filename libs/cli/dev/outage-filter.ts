import { type Clock, systemClock } from "#libs/clock/clock.ts";

// A neighbour's complaint may overtake the news of the death by some milliseconds; reconnecting takes up to a second.
const holdMs = 300;
const aftermathMs = 1_000;

interface Held {
  readonly process: string;
  readonly show: () => void;
  readonly timer: Disposable;
}

/**
 * While a process is away, and a moment before and after, leaves out what the others say: they complain of its absence,
 * many times over, and that was told in one line already.
 */
export class OutageFilter implements Disposable {
  readonly #clock: Clock;
  readonly #held = new Set<Held>();
  /** By process; with the timer that ends its aftermath, once it is back. */
  readonly #away = new Map<string, Disposable | undefined>();

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** Shows something that `process` said, a moment later, unless another is away by then. */
  pass(process: string, show: () => void): void {
    if ([...this.#away.keys()].some((other) => other !== process)) return;
    const timer = this.#clock.setTimer(() => {
      this.#held.delete(held);
      show();
    }, holdMs);
    const held = { process, show, timer };
    this.#held.add(held);
  }

  /** The process ended. Its own last words are shown now. */
  began(process: string): void {
    this.#away.get(process)?.[Symbol.dispose]();
    this.#away.set(process, undefined);
    const lastWords = [...this.#held].filter((held) => held.process === process);
    this.#drop();
    for (const { show } of lastWords) show();
  }

  /** The process is ready again. */
  ended(process: string): void {
    this.#away.get(process)?.[Symbol.dispose]();
    this.#away.set(
      process,
      this.#clock.setTimer(() => this.#away.delete(process), aftermathMs),
    );
  }

  /** Drops what is held. */
  [Symbol.dispose](): void {
    this.#drop();
    for (const timer of this.#away.values()) timer?.[Symbol.dispose]();
    this.#away.clear();
  }

  #drop(): void {
    for (const { timer } of this.#held) timer[Symbol.dispose]();
    this.#held.clear();
  }
}
