import { backoffDelayMs } from "#libs/clock/backoff.ts";
import type { Clock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import type { HostPort } from "#libs/config/env.ts";
import { Ticker } from "#libs/lifecycle/ticker.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { type Resolve, resolveAll, resolveHost } from "./addresses.ts";
import { Link, type LinkListener } from "./link.ts";

export interface DispatchersOptions {
  readonly targets: readonly HostPort[];
  readonly registryId: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly listener: LinkListener;
  readonly resolve?: Resolve;
}

// A Dispatcher that restarts is found again within a second, and a new one behind the same name within five.
const reconnect = { initialMs: 50, maxMs: 1_000 };
const resolveEveryMs = 5_000;

/** Keeps one Link to every Dispatcher that the names given stand for. */
export class Dispatchers implements AsyncDisposable {
  readonly #options: DispatchersOptions;
  readonly #known = new Map<HostPort, string[]>();
  readonly #keepers = new Map<string, { readonly stop: AbortController; readonly ended: Promise<void> }>();
  readonly #links = new Set<Link>();
  readonly #stop = new AbortController();
  readonly #resolver: Ticker;
  #wanted = new Set<string>();
  #running: Promise<void> | undefined;

  constructor(options: DispatchersOptions) {
    this.#options = options;
    const { clock, log } = options;
    this.#resolver = new Ticker({
      name: "resolving the Dispatchers' names",
      everyMs: resolveEveryMs,
      tick: () => this.#resolve(),
      clock,
      log,
    });
  }

  start(): void {
    this.#running = this.#resolver.run(this.#stop.signal);
  }

  count(state: "up" | "connecting"): number {
    const up = [...this.#links].filter((link) => link.isUp).length;
    return state === "up" ? up : this.#keepers.size - up;
  }

  /** Ends all Links, in order where that is possible within `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#stop.abort();
    for (const { stop } of this.#keepers.values()) stop.abort();
    const links = [...this.#links];
    for (const link of links) link.finish();
    using _ = this.#options.clock.setTimer(() => links.forEach((link) => link.cut()), graceMs);
    await Promise.all([this.#running, ...[...this.#keepers.values()].map(({ ended }) => ended)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(0);
  }

  async #resolve(): Promise<void> {
    const { targets, log, resolve = resolveHost } = this.#options;
    const failed = (host: string, err: unknown) =>
      log.warn("the name of a Dispatcher cannot be resolved", { host, err });
    this.#wanted = await resolveAll(targets, this.#known, resolve, failed);
    if (this.#stop.signal.aborted) return;
    for (const address of this.#wanted) {
      if (this.#keepers.has(address)) continue;
      const stop = new AbortController();
      this.#keepers.set(address, { stop, ended: this.#keep(address, stop.signal) });
    }
  }

  /** Until the address is gone from the names and its Dispatcher as well: a name server may be wrong for a while. */
  async #keep(address: string, stopped: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    let failures = 0;
    while (!stopped.aborted && this.#wanted.has(address)) {
      let twin = false;
      const accept = (dispatcherId: string): boolean => {
        twin = [...this.#links].some((other) => other.isUp && other.dispatcherId === dispatcherId);
        if (!twin) log.info("linked to a Dispatcher", { address, dispatcher_id: dispatcherId });
        return !twin;
      };
      const link = new Link({ ...this.#options, address, accept });
      this.#links.add(link);
      const error = await link.over;
      this.#links.delete(link);
      if (stopped.aborted) break;
      const wasUp = link.dispatcherId !== "";
      failures = wasUp ? 1 : failures + 1;
      const reason = error?.rawMessage ?? "it ended in order";
      if (wasUp) log.warn("the Link to a Dispatcher is lost; trying again", { address, reason });
      else log.debug("no Link to a Dispatcher; trying again", { address, failures, reason });
      await sleep(clock, twin ? resolveEveryMs : backoffDelayMs(failures, reconnect), stopped);
    }
    this.#keepers.delete(address);
  }
}
