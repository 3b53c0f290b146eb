import { toConnectError } from "./connect-error.ts";
import { isConnectionFailure } from "#libs/db/connection-failure.ts";

/** @throws ConnectError DATABASE_UNAVAILABLE when Postgres is away; anything else as it was thrown */
export async function whileConnected<T>(query: () => Promise<T>): Promise<T> {
  try {
    return await query();
  } catch (error) {
    throw isConnectionFailure(error) ? toConnectError(error) : error;
  }
}
