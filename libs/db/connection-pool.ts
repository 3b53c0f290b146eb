import { Socket } from "node:net";
import { Kysely, PostgresDialect } from "kysely";
import { Pool, type PoolClient } from "pg";
import { isConnectionFailure, isOldNews, retryWhileDisconnected } from "./connection-failure.ts";
import { assertSchemaName, withSettings } from "./connection-settings.ts";
import { prepared, type Statement } from "./statement.ts";
import { Session } from "./session.ts";
import { columnParser } from "./types.ts";

export interface ConnectionPoolOptions {
  readonly connectionString: string;
  /** The one schema that names without a schema mean. */
  readonly schema: string;
  /** The most connections at a time. Default 10. */
  readonly max?: number;
  /** Shown in `pg_stat_activity`. Default: the schema. */
  readonly applicationName?: string;
  /** Postgres settings of every connection, sent when it starts, for example `{ plan_cache_mode: "force_generic_plan" }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** For a free connection or a new one, in milliseconds. Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** Postgres ends a statement after this, in milliseconds (57014); 0 is never. Default 30,000. */
  readonly statementTimeoutMs?: number;
  /** Connections that broke, for the log: nothing needs to be done. */
  readonly onError?: (error: Error) => void;
  readonly onStateChange?: (state: ConnectionState) => void;
}

/** Whether the last thing heard of Postgres was an answer. Nothing was heard yet: `disconnected`. */
export type ConnectionState = "connected" | "disconnected";

export interface ConnectionPoolMetrics {
  readonly total: number;
  readonly idle: number;
  /** Callers that wait for a connection. */
  readonly waiting: number;
  readonly max: number;
  readonly state: ConnectionState;
  /** How often Postgres came back after it had been away. */
  readonly reconnects: number;
}

/**
 * Connections to one schema. It outlives Postgres: connections that break are thrown away, what ran on them fails with an
 * error for which `isConnectionFailure` is true, and the next call connects anew. It repeats nothing by itself.
 */
export class ConnectionPool implements AsyncDisposable {
  readonly schema: string;
  readonly #pool: Pool;
  readonly #max: number;
  readonly #options: ConnectionPoolOptions;
  readonly #names = new Map<Statement<unknown>, string>();
  #state: ConnectionState = "disconnected";
  #everConnected = false;
  #reconnects = 0;

  constructor(options: ConnectionPoolOptions) {
    assertSchemaName(options.schema);
    this.schema = options.schema;
    this.#options = options;
    this.#max = options.max ?? 10;
    const statementTimeoutMs = options.statementTimeoutMs ?? 30_000;
    this.#pool = new Pool({
      ...withSettings(options.connectionString, {
        search_path: options.schema,
        // The parser of timestamps relies on these two.
        TimeZone: "UTC",
        DateStyle: "ISO",
        statement_timeout: String(statementTimeoutMs),
        ...options.settings,
      }),
      max: this.#max,
      application_name: options.applicationName ?? options.schema,
      connectionTimeoutMillis: options.connectTimeoutMs ?? 10_000,
      idleTimeoutMillis: 60_000,
      // A machine that vanished says nothing: without these an idle connection to it looks well for hours.
      keepAlive: true,
      keepAliveInitialDelayMillis: 5_000,
      types: { getTypeParser: (oid: number) => columnParser(oid) },
    });
    this.#pool.on("error", (error) => this.#broken(error));
    this.#pool.on("connect", (client) => {
      // Also while it is checked out, when the pool itself does not listen and an "error" would end this process.
      client.on("error", (error) => this.#broken(error));
      if (statementTimeoutMs > 0) endWhenSilent(client, statementTimeoutMs * 1.2 + 1_000);
      this.#heard();
    });
  }

  /** A connection for the caller alone until it is disposed of. Throws what connecting threw. */
  getSession(): Promise<Session> {
    return new Promise((resolve, reject) => {
      this.#pool.connect((error, client) => {
        if (client === undefined) {
          this.#failed(error!);
          reject(error!);
        } else {
          resolve(new Session(client, (statement) => this.#nameOf(statement), this.#settled));
        }
      });
    });
  }

  /** Runs one statement on any connection. */
  async run<Row>(statement: Statement<Row>, params: readonly unknown[] = []): Promise<Row[]> {
    const session = await this.getSession();
    try {
      return await session.run(statement, params);
    } finally {
      session.release();
    }
  }

  /**
   * Runs `fn` between BEGIN and COMMIT, and ROLLBACK if it throws. When the connection breaks during the COMMIT nobody
   * knows whether it happened.
   */
  async transaction<T>(fn: (session: Session) => Promise<T>): Promise<T> {
    await using session = await this.getSession();
    await session.execute("begin");
    let result: T;
    try {
      result = await fn(session);
    } catch (error) {
      // If this fails as well the connection is not given to anybody else, and Postgres rolls back by itself.
      await session.execute("rollback").catch(() => session.discard());
      throw error;
    }
    if ((await session.execute("commit")) !== "COMMIT") {
      throw new Error("The transaction was rolled back: a statement in it had failed, and that error was swallowed.");
    }
    return result;
  }

  /** A query builder on the same connections, for what is not hot. Destroying it leaves the pool as it is. */
  kysely<DB>(): Kysely<DB> {
    const pool = { connect: () => this.#pool.connect(), end: async () => {}, options: {} };
    return new Kysely<DB>({ dialect: new PostgresDialect({ pool }) });
  }

  /** Asks Postgres, for at most `timeoutMs` milliseconds. Never throws. */
  async healthCheck(timeoutMs = 2_000): Promise<boolean> {
    const timeout = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => timeout.resolve(false), timeoutMs);
    const answer = this.run(ping).then(
      () => true,
      () => false,
    );
    try {
      return await Promise.race([answer, timeout.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  getMetrics(): ConnectionPoolMetrics {
    const { totalCount: total, idleCount: idle, waitingCount: waiting } = this.#pool;
    return { total, idle, waiting, max: this.#max, state: this.#state, reconnects: this.#reconnects };
  }

  /**
   * Resolves when Postgres answers; asks again, up to 2 s apart, for as long as it is away. Throws its error when that is
   * anything else (a wrong password), or the last one when the signal aborts.
   * @param onRetry called before each wait.
   */
  async whenReady(signal?: AbortSignal, onRetry?: (error: unknown) => void): Promise<void> {
    await retryWhileDisconnected(() => this.run(ping), { signal, onRetry });
  }

  /** Waits for the sessions that are out, then closes every connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#pool.ending) await this.#pool.end();
  }

  readonly #settled = (error: Error | null): void => {
    if (error === null) this.#heard();
    else this.#failed(error);
  };

  #nameOf(statement: Statement<unknown>): string {
    let name = this.#names.get(statement);
    if (name === undefined) this.#names.set(statement, (name = `${this.schema}.${statement.name}`));
    return name;
  }

  #heard(): void {
    if (this.#state === "connected") return;
    if (this.#everConnected) this.#reconnects++;
    this.#everConnected = true;
    this.#enter("connected");
  }

  #failed(error: Error): void {
    // A session whose connection broke long ago is no news.
    if (isConnectionFailure(error) && !isOldNews(error)) this.#enter("disconnected");
  }

  #broken(error: Error): void {
    // pg-pool hangs the whole client on it, which no log should print.
    Reflect.deleteProperty(error, "client");
    this.#failed(error);
    this.#options.onError?.(error);
  }

  #enter(state: ConnectionState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#options.onStateChange?.(state);
  }
}

const ping = prepared("ping", "select 1");

/** Ends a connection that owes an answer and says nothing for `silenceMs`; Postgres would have ended the statement. */
function endWhenSilent(client: PoolClient, silenceMs: number): void {
  const socket = client.connection.stream;
  if (!(socket instanceof Socket)) return;
  socket.setTimeout(silenceMs, () => {
    // pg's own types leave it out. It covers Kysely's statements too, which no session sees.
    if (Reflect.get(client, "readyForQuery") === true) return;
    socket.destroy(Object.assign(new Error(`Postgres did not answer for ${silenceMs} ms`), { code: "ETIMEDOUT" }));
  });
}
