import { Code, ConnectError } from "@connectrpc/connect";
import { legionError, toConnectError } from "./errors.ts";
import { isGrpcError } from "./grpc-status.ts";
import type { Log } from "./log.ts";

export interface FailedCall {
  service: string;
  method: string;
  /** True when the caller is gone or its deadline has passed: what fails then is a consequence. */
  abortedWith?: unknown;
}

/**
 * What a caller is told about something a handler threw. Errors made on purpose pass; anything else is logged with its
 * stack, and the caller gets INTERNAL with a sentence that gives nothing away.
 */
export function failureOf(thrown: unknown, call: FailedCall, log: Log): ConnectError {
  if (thrown instanceof ConnectError || isGrpcError(thrown)) return toConnectError(thrown);
  if (call.abortedWith !== undefined) {
    return call.abortedWith instanceof ConnectError
      ? call.abortedWith
      : new ConnectError("The caller canceled.", Code.Canceled);
  }
  log.error("a handler failed unexpectedly", { err: thrown, service: call.service, method: call.method });
  return legionError("INTERNAL", `${call.method} failed inside the service; its log says why.`);
}
