import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { Child, type ChildExit, type ChildSpec, type OutputStream } from "./child.ts";
import { RestartBackoff } from "./restart-backoff.ts";

export interface SupervisedOptions extends ChildSpec {
  /** Resolves when the process that was just started is ready for work; the signal aborts when it has ended. */
  readonly whenReady: (signal: AbortSignal) => Promise<void>;
  readonly onStarted: (pid: number | undefined) => void;
  readonly onLine: (line: string, stream: OutputStream) => void;
  /** It ended without having been asked to. */
  readonly onDeath: (exit: ChildExit, death: Death) => void;
  /** It is ready again after a death. */
  readonly onRecovered: () => void;
}

export interface Death {
  readonly restartDelayMs: number;
  /** How many there were in short succession. */
  readonly deaths: number;
  /** Whether it was ever ready, in this life or an earlier one. */
  readonly wasReady: boolean;
}

/** A process that is started again whenever it ends, until it is stopped. */
export class Supervised {
  readonly name: string;
  /** Resolves when it is ready for the first time; rejects when it is stopped before. */
  readonly ready: Promise<void>;
  readonly #options: SupervisedOptions;
  readonly #backoff = new RestartBackoff();
  readonly #stopping = new AbortController();
  readonly #ended: Promise<void>;
  #child: Child | undefined;
  #patienceMs = 0;

  constructor(options: SupervisedOptions) {
    this.name = options.name;
    this.#options = options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.ready = promise;
    promise.catch(() => {});
    this.#stopping.signal.addEventListener("abort", () => reject(new Error(`The ${this.name} was stopped.`)));
    this.#ended = this.#keepAlive(resolve);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** SIGTERM, then SIGKILL after `patienceMs`; resolves when nothing is left of it. */
  async stop(patienceMs: number): Promise<void> {
    this.#patienceMs = patienceMs;
    this.#stopping.abort();
    await this.#ended;
  }

  kill(): void {
    this.#stopping.abort();
    this.#child?.kill();
  }

  async #keepAlive(onReady: () => void): Promise<void> {
    const { signal } = this.#stopping;
    let wasReady = false;
    for (let first = true; !signal.aborted; first = false) {
      const startedMs = systemClock.monotonic();
      const exit = await this.#runOnce(() => {
        wasReady = true;
        onReady();
        if (!first) this.#options.onRecovered();
      });
      if (signal.aborted) return;
      const restartDelayMs = this.#backoff.afterDeath(systemClock.monotonic() - startedMs);
      this.#options.onDeath(exit, { restartDelayMs, deaths: this.#backoff.deaths, wasReady });
      await sleep(systemClock, restartDelayMs, signal);
    }
  }

  async #runOnce(onReady: () => void): Promise<ChildExit> {
    const child = new Child(this.#options, this.#options.onLine);
    this.#child = child;
    this.#options.onStarted(child.pid);
    const over = new AbortController();
    void this.#options.whenReady(over.signal).then(
      () => over.signal.aborted || onReady(),
      () => {},
    );
    const stop = (): void => void child.stop(this.#patienceMs);
    this.#stopping.signal.addEventListener("abort", stop);
    const exit = await child.exited;
    this.#stopping.signal.removeEventListener("abort", stop);
    over.abort();
    return exit;
  }
}
