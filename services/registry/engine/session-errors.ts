import type { ConnectError } from "@connectrpc/connect";
import { legionError } from "#libs/rpc/errors.ts";

export function fenced(): ConnectError {
  return legionError("SESSION_FENCED", "A newer session of this agent began, or this one goes on on another stream.");
}

export function expired(what: "heard" | "acknowledged"): ConnectError {
  return legionError("SESSION_EXPIRED", `Nothing was ${what} from this agent for the length of its lease.`);
}

export function shuttingDown(): ConnectError {
  return legionError("SHUTTING_DOWN", "This Registry is going away; connect again.", { retryDelayMs: 100 });
}
