import type { Clock } from "#libs/clock/clock.ts";
import type { Logger } from "#libs/telemetry/logger.ts";

export interface TickerOptions {
  /** What the log calls it, such as `lease sweeper`. */
  readonly name: string;
  /** The rest between the end of one step and the start of the next, in milliseconds. */
  readonly everyMs: number;
  /** One step. The signal aborts when the loop is to end. */
  readonly tick: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Pick<Logger, "error" | "info">;
}

/** A loop that exposes its step: `run` in production, `tick` in tests. */
export class Ticker {
  readonly #options: TickerOptions;
  #signal: AbortSignal = new AbortController().signal;
  #current: Promise<void> | undefined;
  #following: Promise<void> | undefined;
  #nudged = false;
  #wake: (() => void) | undefined;
  #failures = 0;

  constructor(options: TickerOptions) {
    this.#options = options;
  }

  /**
   * Runs one step, and rejects with its error. Never two at once: calls made during a step share one further step, that
   * begins when it ends, so that each sees whatever was there when it was made.
   */
  tick(): Promise<void> {
    if (this.#following !== undefined) return this.#following;
    if (this.#current === undefined) return this.#begin();
    this.#following = this.#current.then(ignore, ignore).then(() => {
      this.#following = undefined;
      return this.#begin();
    });
    return this.#following;
  }

  /** Runs a step now and then one `everyMs` after each, until `signal` aborts. An error is logged and ends nothing. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    while (!signal.aborted) {
      this.#nudged = false;
      await this.tick().then(
        () => this.#succeeded(),
        (error: unknown) => this.#failed(error, signal),
      );
      if (!this.#nudged) await this.#rest(signal);
    }
  }

  /** The running loop takes its next step at once, or right after the one it is in. */
  nudge(): void {
    this.#nudged = true;
    this.#wake?.();
  }

  #begin(): Promise<void> {
    this.#current = Promise.resolve()
      .then(() => this.#options.tick(this.#signal))
      .finally(() => {
        this.#current = undefined;
      });
    return this.#current;
  }

  #rest(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer[Symbol.dispose]();
        signal.removeEventListener("abort", wake);
        this.#wake = undefined;
        resolve();
      };
      const timer = this.#options.clock.setTimer(wake, this.#options.everyMs);
      signal.addEventListener("abort", wake);
      this.#wake = wake;
      if (signal.aborted) wake();
    });
  }

  #succeeded(): void {
    if (this.#failures > 0) this.#options.log.info(`${this.#options.name} works again`, { failures: this.#failures });
    this.#failures = 0;
  }

  #failed(error: unknown, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#failures++;
    // The 1st, 2nd, 4th, 8th … in a row: a database that is away for an hour shall not fill the log.
    if ((this.#failures & (this.#failures - 1)) !== 0) return;
    this.#options.log.error(`${this.#options.name} failed`, { err: error, failures: this.#failures });
  }
}

const ignore = (): void => {};
