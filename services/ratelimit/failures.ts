import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { namespaceOf } from "./core/plan.ts";

export function limitNotFound(namespace: string, name: string): Error {
  return legionError("LIMIT_NOT_FOUND", `There is no limit ${name} in the namespace ${namespaceOf(namespace)}.`, {
    metadata: { namespace: namespaceOf(namespace), limit: name },
  });
}

/** Runs a handler; that Postgres is away is told to the caller as what it is. */
export async function whileDatabaseAnswers<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!isConnectionFailure(error)) throw error;
    throw legionError("DATABASE_UNAVAILABLE", "Postgres does not answer, and it decides. Nothing can be said now.", {
      retryDelayMs: 1_000,
    });
  }
}

/** For what is done again soon: the host says that Postgres is away, and nobody needs to hear it from each loop. */
export async function unlessDisconnected(step: Promise<unknown>): Promise<void> {
  try {
    await step;
  } catch (error) {
    if (!isConnectionFailure(error)) throw error;
  }
}

/** Postgres has no character 0 in a text, so nothing that is stored has one. */
export function refuseNul(field: string, value: string): void {
  if (!value.includes("\0")) return;
  const description = "contains the character 0, which no name does";
  throw legionError("INVALID_REQUEST", `${field} ${description}`, { violations: [{ field, description }] });
}
