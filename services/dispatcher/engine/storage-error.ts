import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import { legionError } from "#libs/rpc/errors.ts";

/** What a caller is told when its task could not be stored. */
export function toStorageError(error: unknown): Error {
  if (isConnectionFailure(error)) {
    return legionError(
      "DATABASE_UNAVAILABLE",
      "The database cannot be reached; whether the task was stored is not known. Submit it again with the same task_id.",
      { retryDelayMs: 500 },
    );
  }
  return error as Error;
}
