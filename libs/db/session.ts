import type { PoolClient } from "pg";
import { isConnectionFailure } from "./connection-failure.ts";
import { errorField, toError } from "./errors.ts";
import { PreparedQuery } from "./prepared-query.ts";
import type { Statement } from "./statement.ts";

/**
 * One checked-out connection: what is bound to a connection (a transaction, an advisory lock) needs one. One statement at a
 * time. Dispose of it, or the pool is short of one for ever.
 */
export class Session implements AsyncDisposable {
  readonly #client: PoolClient;
  readonly #nameOf: (statement: Statement<unknown>) => string;
  readonly #settled: (error: Error | null) => void;
  #broken = false;
  #released = false;

  constructor(
    client: PoolClient,
    nameOf: (statement: Statement<unknown>) => string,
    settled: (error: Error | null) => void,
  ) {
    this.#client = client;
    this.#nameOf = nameOf;
    this.#settled = settled;
  }

  /**
   * Runs a prepared statement. Parameters are strings, numbers, bigints, booleans, Dates, bytes or null; arrays go through
   * the encoders of `binary-array.ts`, JSON through `JSON.stringify`.
   *
   * When it throws an error for which `isConnectionFailure` is true the statement may have been committed all the same.
   */
  run<Row>(statement: Statement<Row>, params: readonly unknown[] = []): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      if (this.#released) return reject(new Error("This session was given back."));
      const query = new PreparedQuery(this.#nameOf(statement), statement.text, params, (error, rows) => {
        this.#note(error);
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the statement's author promised
        if (error === null) resolve(rows as Row[]);
        else reject(error);
      });
      this.#client.query(query);
    });
  }

  /** Runs plain SQL without parameters, also several statements, and returns the last command's tag such as `COMMIT`. */
  async execute(text: string): Promise<string> {
    if (this.#released) throw new Error("This session was given back.");
    try {
      const result: { command: string } | { command: string }[] = await this.#client.query(text);
      this.#note(null);
      return Array.isArray(result) ? (result.at(-1)?.command ?? "") : result.command;
    } catch (error) {
      this.#note(toError(error));
      throw error;
    }
  }

  /** The connection is closed instead of reused, at the latest when the session is given back. */
  discard(): void {
    this.#broken = true;
  }

  /** Gives the connection back; inside an open transaction, or broken, it is closed. Again: nothing happens. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    const status = this.#client.getTransactionStatus();
    this.#client.release(this.#broken || (status !== "I" && status !== null));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
  }

  #note(error: Error | null): void {
    if (error !== null && isUnusableAfter(error)) this.#broken = true;
    this.#settled(error);
  }
}

function isUnusableAfter(error: Error): boolean {
  if (isConnectionFailure(error)) return true;
  const code = errorField(error, "code");
  // What this connection prepared is out of date: a migration changed the columns, or somebody deallocated it.
  return code === "26000" || (code === "0A000" && errorField(error, "routine") === "RevalidateCachedQuery");
}
