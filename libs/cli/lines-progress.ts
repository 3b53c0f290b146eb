import { progressText, summaryText } from "./progress-bar.ts";
import type { Progress } from "./progress-bar.ts";
import { StatusLine } from "./status-line.ts";

const redrawEveryMs = 100;

/** How far the lines of an input are, on standard error. */
export class LinesProgress implements Disposable {
  readonly #status = new StatusLine();
  readonly #size: number | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #startedMs = performance.now();
  #bytes = 0;
  #done = 0;
  #failed = 0;
  #troubled = false;

  /** @param size of the whole input in bytes, where it is known. */
  constructor(size: number | undefined) {
    this.#size = size;
    this.#timer = setInterval(() => this.#draw(), redrawEveryMs).unref();
  }

  get failed(): number {
    return this.#failed;
  }

  count(ok: boolean, bytes: number): void {
    this.#bytes += bytes;
    if (ok) this.#done++;
    else this.#failed++;
  }

  /** Said once for each time of trouble. */
  trouble(text: string): void {
    if (!this.#troubled) this.note(text);
    this.#troubled = true;
  }

  recovered(text: string): void {
    if (this.#troubled) this.note(text);
    this.#troubled = false;
  }

  note(text: string): void {
    this.#status.note(text);
  }

  /** The end: `20,000 done, 0 failed, 3.2 s, 6,250/s`. */
  summary(): string {
    return summaryText(this.#progress());
  }

  #draw(): void {
    this.#status.update(progressText(this.#progress()), { transient: true });
  }

  #progress(): Progress {
    return {
      done: this.#done,
      failed: this.#failed,
      elapsedMs: performance.now() - this.#startedMs,
      fraction: this.#size === undefined ? undefined : Math.min(1, this.#bytes / Math.max(1, this.#size)),
    };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#status.clear();
  }
}
