import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import { legionError } from "#libs/rpc/errors.ts";

/** Runs a handler; that Postgres is away is told to the caller as what it is. */
export async function whileDatabaseAnswers<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!isConnectionFailure(error)) throw error;
    throw legionError("DATABASE_UNAVAILABLE", "Postgres does not answer. Nothing can be stored or read now.", {
      retryDelayMs: 1_000,
    });
  }
}
