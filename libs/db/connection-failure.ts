import { backoffDelayMs, type BackoffPolicy } from "#libs/clock/backoff.ts";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { errorField } from "./errors.ts";

/** Jittered, so that the replicas do not all come back to a Postgres that has just started in the same instant. */
export const reconnectBackoff: BackoffPolicy = { initialMs: 50, maxMs: 2_000 };

/**
 * True when an error says that the database is away or cannot serve anybody now, so that trying again may help; false for
 * a mistake in a statement or its data, a timeout of one statement, or a lost race (serialization, deadlock).
 *
 * A statement whose connection broke may have been committed all the same: nobody knows. Repeat only what is idempotent.
 */
export function isConnectionFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = errorField(error, "code");
  if (typeof code === "string") {
    return networkErrors.has(code) || code.startsWith("08") || unavailableStates.has(code);
  }
  // Every address of a host refused.
  if (error instanceof AggregateError) return error.errors.length > 0 && error.errors.every(isConnectionFailure);
  // pg gives its own errors neither code nor class.
  return pgMessages.some((message) => error.message.startsWith(message));
}

/** What pg says to whoever uses a connection of which it has reported the end before. */
export function isOldNews(error: Error): boolean {
  return error.message.startsWith(notQueryable);
}

const notQueryable = "Client has encountered a connection error and is not queryable";

const networkErrors = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "EADDRNOTAVAIL",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENOENT",
]);

const unavailableStates = new Set([
  "53300", // too many connections
  "57P01", // the administrator ended the connection: a shutdown
  "57P02", // another backend crashed
  "57P03", // starting up, shutting down, in recovery
  "57P05", // idle session timeout
  "25P03", // idle in transaction timeout, which ends the connection
  "25006", // read-only: a primary that became a standby; the pool's next connection may reach the new primary
]);

const pgMessages = [
  "Connection terminated",
  notQueryable,
  "Client was closed and is not queryable",
  "timeout exceeded when trying to connect",
  "timeout expired",
];

export interface RetryOptions {
  /** Ends the waiting: the last error is thrown then. */
  readonly signal?: AbortSignal | undefined;
  /** Called before each wait. */
  readonly onRetry?: ((error: unknown) => void) | undefined;
}

/**
 * Calls `fn` until it succeeds or fails with anything but `isConnectionFailure`, with waits of up to 2 s between.
 *
 * What a broken connection carried may have been committed: `fn` must be idempotent. There is no limit of attempts; the
 * signal is the limit.
 */
export async function retryWhileDisconnected<T>(fn: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await fn();
    } catch (error) {
      if (!isConnectionFailure(error) || options.signal?.aborted) throw error;
      options.onRetry?.(error);
      await sleep(systemClock, backoffDelayMs(attempt, reconnectBackoff), options.signal);
      if (options.signal?.aborted) throw error;
    }
  }
}
