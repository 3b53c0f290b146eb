import type { Clock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import type { KeyLimit } from "./key-limit.ts";
import { RateLimitedError } from "./rate-limited-error.ts";

interface Turn {
  readonly cost: number;
  readonly deadlineMs: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export interface TurnsOptions extends Pick<KeyLimit, "what" | "take"> {
  readonly clock: Clock;
  readonly maxWaitMs: number;
}

/** Callers of one limit, each waiting for its turn in the order they came. */
export class Turns {
  readonly #options: TurnsOptions;
  #queue: Turn[] = [];
  #running = false;

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return !this.#running;
  }

  /** @throws RateLimitedError if its turn does not come within `maxWaitMs`, as soon as that is known. */
  async next(cost: number): Promise<void> {
    const { clock, maxWaitMs } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#queue.push({ cost, deadlineMs: clock.monotonic() + maxWaitMs, resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    const { clock, take, what } = this.#options;
    this.#running = true;
    for (let turn = this.#queue[0]; turn !== undefined; turn = this.#queue[0]) {
      try {
        const taken = take(turn.cost);
        const waitMs = typeof taken === "number" ? taken : await taken;
        if (waitMs === Infinity) {
          throw new RateLimitedError(
            `A call that costs ${turn.cost} could never pass the limit of ${what}.`,
            undefined,
          );
        }
        if (waitMs > 0) {
          this.#refuse(waitMs);
          if (this.#queue[0] === turn) await sleep(clock, waitMs);
          continue;
        }
        turn.resolve();
      } catch (error) {
        turn.reject(error as Error);
      }
      this.#queue.shift();
    }
    this.#running = false;
  }

  /** Those wait no longer whose time is up when the first one's turn comes: theirs is not earlier. */
  #refuse(waitMs: number): void {
    const earliestMs = this.#options.clock.monotonic() + waitMs;
    const message = `The limit of ${this.#options.what} is reached; try again in ${waitMs} ms.`;
    for (const { deadlineMs, reject } of this.#queue) {
      if (deadlineMs < earliestMs) reject(new RateLimitedError(message, waitMs));
    }
    this.#queue = this.#queue.filter(({ deadlineMs }) => deadlineMs >= earliestMs);
  }
}
