import { backoffCeilingMs } from "#libs/clock/backoff.ts";

// The first restart is all but immediate: most deaths are a single mishap. A service that lived for 30 s counts as sound.
const policy = { initialMs: 100, maxMs: 10_000 };
const soundAfterMs = 30_000;

/** How long to wait before a process that ended is started again: 0.1 s, 0.2 s … 10 s; 0.1 s again after a sound run. */
export class RestartBackoff {
  #deaths = 0;

  /** @param ranMs how long the process that ended had run. */
  afterDeath(ranMs: number): number {
    this.#deaths = ranMs >= soundAfterMs ? 1 : this.#deaths + 1;
    return backoffCeilingMs(this.#deaths, policy);
  }

  /** Deaths since the last sound run. */
  get deaths(): number {
    return this.#deaths;
  }
}
