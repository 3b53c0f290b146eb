import { ConnectError } from "@connectrpc/connect";
import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { SchemaError } from "#libs/schema/schema-error.ts";
import { Violation } from "../core/violation.ts";

/** What an agent is told; `isExpected` says whether it was foreseen. */
export function toConnectError(thrown: unknown, field = ""): ConnectError {
  if (thrown instanceof ConnectError) return thrown;
  if (thrown instanceof Violation) return at(thrown.reason, thrown.field, thrown.message);
  if (thrown instanceof SchemaError) return at(thrown.reason, field, thrown.message);
  if (isConnectionFailure(thrown)) {
    return legionError("DATABASE_UNAVAILABLE", "Postgres is away.", { retryDelayMs: 1_000 });
  }
  return legionError("INTERNAL", "The Registry failed; its log says why.");
}

function at(reason: Parameters<typeof legionError>[0], field: string, description: string): ConnectError {
  return legionError(reason, `${field}: ${description}`, { violations: [{ field, description }] });
}
