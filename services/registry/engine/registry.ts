import { Code, type ConnectError } from "@connectrpc/connect";
import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Notifier } from "#libs/db/notifier.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Limits } from "../core/session.ts";
import type { Opened } from "../sql/open-sessions.ts";
import { Changes, takeoverGraceMs } from "./changes.ts";
import type { AgentStream } from "./live-session.ts";
import { Presence } from "./presence.ts";
import type { RegistryMetrics } from "./registry-metrics.ts";
import { shuttingDown } from "./session-errors.ts";
import { Rests } from "./rests.ts";
import { Rollouts } from "./rollouts.ts";
import { SessionStore } from "./session-store.ts";
import { Sessions } from "./sessions.ts";

export interface RegistryOptions {
  readonly registryId: string;
  readonly limits: Limits;
  readonly pool: ConnectionPool;
  readonly notifier: Notifier;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: RegistryMetrics;
  /** Refuses with a SchemaError. */
  readonly checkSchema: (text: string) => Promise<void>;
}

export const hintChannel = "legion_registry";
/** The hint that weights have changed; other hints are the id of the Registry they are for. */
export const weightsHint = "weights";

/** What one Registry process is made of, for its handlers. */
export class Registry {
  readonly registryId: string;
  readonly pool: ConnectionPool;
  readonly log: Logger;
  readonly metrics: RegistryMetrics;
  readonly checkSchema: (text: string) => Promise<void>;
  readonly store: SessionStore;
  readonly sessions: Sessions;
  readonly changes: Changes;
  readonly presence: Presence;
  readonly rests: Rests;
  readonly rollouts: Rollouts;
  readonly #options: RegistryOptions;
  /** Streams that have not said hello, and until when they may be silent. */
  readonly #silent = new Map<AgentStream, number>();
  #closing = false;

  constructor(options: RegistryOptions) {
    const { registryId, limits, pool, clock, log, metrics, checkSchema } = options;
    this.#options = options;
    this.registryId = registryId;
    this.pool = pool;
    this.log = log;
    this.metrics = metrics;
    this.checkSchema = checkSchema;
    this.store = new SessionStore({ pool, registryId, clock, log });
    this.sessions = new Sessions({ registryId, limits, store: this.store, clock, log, metrics });
    this.rests = new Rests(this.sessions, clock);
    this.changes = new Changes({ pool, registryId, sessions: this.sessions, rests: this.rests, clock, log });
    this.rollouts = new Rollouts({
      pool,
      clock,
      log,
      steps: metrics.rollouts,
      changed: () => this.hintWeights(),
      drain: (holder) => this.hint(holder),
    });
    const swept = () => this.changes.ticker.nudge();
    this.presence = new Presence({ pool, registryId, leaseMs: limits.leaseMs, clock, log, swept });
  }

  /** Everything that depends on time and touches no database. */
  tick(): void {
    this.sessions.tick();
    this.rests.tick();
    this.metrics.flush();
    const nowMs = this.#options.clock.monotonic();
    for (const [stream, untilMs] of this.#silent) {
      if (nowMs > untilMs)
        stream.fail(legionError("HELLO_EXPECTED", "hello: nothing was said for the length of a lease."));
    }
  }

  /** @returns what is to be called when hello is said. */
  expectHello(stream: AgentStream): () => void {
    this.#silent.set(stream, this.#options.clock.monotonic() + this.#options.limits.leaseMs);
    return () => this.#silent.delete(stream);
  }

  /** @throws ConnectError SHUTTING_DOWN */
  assertOpen(): void {
    if (this.#closing) throw shuttingDown();
  }

  /** A session was opened: who held the agent before is told, if it is another Registry. */
  opened({ resumed, previousRegistryId }: Opened): void {
    this.metrics.hello(resumed ? "resumed" : "opened");
    if (previousRegistryId === undefined || previousRegistryId === this.registryId) return;
    this.hint(previousRegistryId);
    // If it is gone, others tell for it as soon as they may.
    this.#options.clock.setTimer(() => this.changes.ticker.nudge(), takeoverGraceMs + 10);
  }

  refused(error: ConnectError, thrown: unknown, peer: string): void {
    this.metrics.hello("refused");
    if (error.code !== Code.Internal) this.log.debug("a hello was refused", { peer, reason: error.rawMessage });
    else this.log.error("a hello failed unexpectedly", { peer, err: thrown });
  }

  /** Tells another Registry, or all of them, to look for changes. */
  hint(payload: string): void {
    if (payload === this.registryId) this.changes.ticker.nudge();
    else this.#options.notifier.hint(hintChannel, payload);
  }

  /** Tells all Registries, this one included, that weights have changed. */
  hintWeights(): void {
    this.hint(weightsHint);
    this.hint(this.registryId);
  }

  async listen(): Promise<void> {
    await this.#options.notifier.listen(hintChannel, (payload) => {
      if (payload === null || payload === weightsHint || payload === this.registryId) this.changes.ticker.nudge();
    });
  }

  /**
   * Asks the agents to go on elsewhere and gives them `graceMs` for it; then their streams end. Sessions that can be resumed
   * stay, for their lease, for any Registry.
   */
  async close(graceMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#closing = true;
    for (const stream of this.#silent.keys()) stream.fail(shuttingDown());
    for (const live of this.sessions.all()) this.sessions.moveOn(live, "This Registry is going away.");
    await this.#until(() => this.sessions.isIdle, graceMs);
    for (const live of [...this.sessions.all()]) this.sessions.leave(live, shuttingDown());
    await this.#until(() => !this.sessions.homes.busy, graceMs / 2);
    await Promise.race([this.store.drain(), new Promise<void>((resolve) => clock.setTimer(resolve, graceMs))]);
  }

  /** Waits for what other processes bring about, so it asks now and then; at most `limitMs`. */
  #until(condition: () => boolean, limitMs: number): Promise<void> {
    const { clock } = this.#options;
    const endMs = clock.monotonic() + limitMs;
    return new Promise((resolve) => {
      const ask = (): void => {
        if (condition() || clock.monotonic() >= endMs) resolve();
        else clock.setTimer(ask, 20);
      };
      ask();
    });
  }
}
