import { setImmediate as turn } from "node:timers/promises";
import { Client } from "pg";
import { backoffDelayMs } from "#libs/clock/backoff.ts";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { reconnectBackoff } from "./connection-failure.ts";
import { toError } from "./errors.ts";

export interface NotifierOptions {
  readonly connectionString: string;
  /** Shown in `pg_stat_activity`. Default `notifier`. */
  readonly applicationName?: string;
  /** For the log: a connection that broke or could not be made (it is made again, up to 2 s apart), a handler that threw. */
  readonly onError?: (error: Error) => void;
}

/** Gets each payload, its own process's too; or null after a gap, when hints may have been missed: look for yourself. */
export type HintHandler = (payload: string | null) => void;

/** Postgres refuses longer ones. */
export const maxPayloadBytes = 7_999;
/** When so many different payloads wait on one channel, further ones are dropped. */
const maxPending = 1_000;

interface Subscription {
  readonly handlers: Set<HintHandler>;
  readonly established: PromiseWithResolvers<void>;
}

interface Outbox {
  readonly pending: Set<string>;
  sending: boolean;
}

/**
 * LISTEN and NOTIFY on one connection of its own. Hints are hints: they may be lost whenever the connection is, so whoever
 * listens also polls, seldom.
 *
 * NOTIFY takes a lock on the whole database at COMMIT, behind which all other notifying transactions queue. Therefore a
 * hint is a statement of its own, never part of a transaction that writes, and one at most is under way per channel.
 */
export class Notifier implements AsyncDisposable {
  readonly #options: NotifierOptions;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #outboxes = new Map<string, Outbox>();
  readonly #stopped = new AbortController();
  /** Connected or about to be. */
  #newest: Client | undefined;
  /** Connected, and listening to every channel. */
  #client: Client | undefined;
  #lastStatement: Promise<unknown> = Promise.resolve();
  #loop: Promise<void> | undefined;

  constructor(options: NotifierOptions) {
    this.#options = options;
  }

  /**
   * Calls the handler from now on, for as long as the notifier lives. Resolves when Postgres has taken the LISTEN, which
   * waits for as long as Postgres is away; throws when the notifier is disposed of meanwhile.
   */
  async listen(channel: string, handler: HintHandler): Promise<void> {
    assertChannelName(channel);
    this.#start();
    let subscription = this.#subscriptions.get(channel);
    if (subscription === undefined) {
      subscription = { handlers: new Set(), established: Promise.withResolvers() };
      this.#subscriptions.set(channel, subscription);
      // Without a connection the loop subscribes when it has one.
      if (this.#client !== undefined) void this.#subscribe(this.#client, channel, subscription);
    }
    subscription.handlers.add(handler);
    await subscription.established.promise;
  }

  /**
   * Sends a payload to all who listen on the channel, soon. Equal payloads that wait become one. Never waits, and while
   * Postgres is away keeps up to 1,000 different payloads per channel.
   *
   * @throws RangeError for a payload of more than 7,999 bytes.
   */
  hint(channel: string, payload: string): void {
    assertChannelName(channel);
    const bytes = Buffer.byteLength(payload);
    if (bytes > maxPayloadBytes) throw new RangeError(`A hint has at most ${maxPayloadBytes} bytes, this has ${bytes}`);
    this.#start();
    let outbox = this.#outboxes.get(channel);
    if (outbox === undefined) this.#outboxes.set(channel, (outbox = { pending: new Set(), sending: false }));
    if (outbox.pending.size < maxPending) outbox.pending.add(payload);
    void this.#flush(channel, outbox);
  }

  /** Closes the connection; hints that still wait are dropped. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#stopped.signal.aborted) {
      this.#stopped.abort();
      for (const { established } of this.#subscriptions.values()) {
        // Usually it is resolved long since; if not, somebody waits for it in `listen`.
        established.reject(new Error("The notifier was disposed of."));
      }
      await this.#newest?.end();
    }
    await this.#loop;
  }

  #start(): void {
    if (this.#stopped.signal.aborted) throw new Error("The notifier was disposed of.");
    this.#loop ??= this.#stayConnected(this.#stopped.signal);
  }

  async #stayConnected(stopped: AbortSignal): Promise<void> {
    let wasConnected = false;
    for (let attempt = 1; !stopped.aborted; attempt++) {
      const client = this.#newClient();
      this.#newest = client;
      const ended = new Promise((resolve) => client.once("end", resolve));
      try {
        await client.connect();
        for (const [channel, subscription] of this.#subscriptions) await this.#subscribe(client, channel, subscription);
        this.#client = client;
        attempt = 0;
        if (wasConnected) this.#tellOfGap();
        wasConnected = true;
        for (const [channel, outbox] of this.#outboxes) void this.#flush(channel, outbox);
        await ended;
      } catch (error) {
        if (!stopped.aborted) this.#options.onError?.(toError(error));
      } finally {
        this.#client = undefined;
        client.end(() => {});
      }
      await sleep(systemClock, backoffDelayMs(Math.max(1, attempt), reconnectBackoff), stopped);
    }
  }

  async #subscribe(client: Client, channel: string, subscription: Subscription): Promise<void> {
    try {
      await this.#run(client, `listen "${channel}"`);
      subscription.established.resolve();
    } catch {
      // A standby, for example, takes no LISTEN: connect anew, perhaps to its successor.
      client.end(() => {});
    }
  }

  async #flush(channel: string, outbox: Outbox): Promise<void> {
    const client = this.#client;
    if (client === undefined || outbox.sending || outbox.pending.size === 0) return;
    outbox.sending = true;
    try {
      // Whatever else this turn of the event loop has to hint goes along.
      await turn();
      const payloads = [...outbox.pending];
      outbox.pending.clear();
      await this.#run(client, "select pg_notify($1, payload) from unnest($2::text[]) payload", [channel, payloads]);
    } catch (error) {
      if (client === this.#client) this.#options.onError?.(toError(error));
    } finally {
      outbox.sending = false;
    }
    await this.#flush(channel, outbox);
  }

  /** One statement at a time: pg will not queue them itself for much longer. */
  #run(client: Client, text: string, values: unknown[] = []): Promise<unknown> {
    const result = this.#lastStatement.then(() => client.query(text, values));
    this.#lastStatement = result.catch(() => {});
    return result;
  }

  #newClient(): Client {
    const client = new Client({
      connectionString: this.#options.connectionString,
      application_name: this.#options.applicationName ?? "notifier",
      connectionTimeoutMillis: 10_000,
      // It mostly listens: only these tell that the machine at the other end vanished.
      keepAlive: true,
      keepAliveInitialDelayMillis: 5_000,
    });
    client.on("error", (error) => this.#options.onError?.(error));
    client.on("notification", ({ channel, payload }) => this.#tell(this.#subscriptions.get(channel), payload ?? ""));
    return client;
  }

  #tellOfGap(): void {
    for (const subscription of this.#subscriptions.values()) this.#tell(subscription, null);
  }

  #tell(subscription: Subscription | undefined, payload: string | null): void {
    for (const handler of subscription?.handlers ?? []) {
      try {
        handler(payload);
      } catch (error) {
        this.#options.onError?.(toError(error));
      }
    }
  }
}

function assertChannelName(channel: string): void {
  if (!/^[a-z_][a-z0-9_.]{0,62}$/.test(channel)) throw new Error(`Not a channel's name: ${channel}`);
}
