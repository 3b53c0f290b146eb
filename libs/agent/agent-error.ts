import { Code, type ConnectError } from "@connectrpc/connect";
import { errorReason, errorViolations } from "#libs/rpc/errors.ts";

/** Why an agent stopped, or could not start, for good: trying again would not help. */
export class AgentError extends Error {
  override readonly name: string = "AgentError";
  /** The mesh's word, such as `SESSION_FENCED`, `INVALID_REQUEST` or `SCHEMA_INVALID`; `STOPPED` if it was stopped here. */
  readonly reason: string;
  /** The fault lies in a setting or a surrounding, not in the program: its message says all there is to say. */
  readonly expected = true;

  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

export function fenced(agentId: string, cause: ConnectError): AgentError {
  const message =
    `Another process uses the agent id ${agentId}: its session is newer and has replaced this one. ` +
    "Give every process an agent id of its own.";
  return new AgentError("SESSION_FENCED", message, { cause });
}

export function refused(agentId: string, target: string, cause: ConnectError): AgentError {
  const { rawMessage, code } = cause;
  const reason = errorReason(cause) ?? "REFUSED";
  if (code === Code.Unimplemented && reason === "REFUSED") {
    const message = `What answers at ${target} is no Registry (${rawMessage}): give the gRPC port of one, such as 7401.`;
    return new AgentError(reason, message, { cause });
  }
  // The message may say of the first field what is wrong with it.
  const more = errorViolations(cause)
    .map(({ field, description }) => `${field}: ${description}`)
    .filter((violation) => !rawMessage.includes(violation))
    .map((violation) => `\n  ${violation}`);
  return new AgentError(
    reason,
    `The Registry at ${target} refuses the agent ${agentId}: ${rawMessage}${more.join("")}`,
    {
      cause,
    },
  );
}
