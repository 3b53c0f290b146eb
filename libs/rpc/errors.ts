import { Code, ConnectError } from "@connectrpc/connect";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "#libs/proto/google/rpc/error_details_pb.ts";
import { connectErrorFromGrpc, isGrpcError } from "./grpc-status.ts";

/** Every reason Legion refuses or fails with: its status code, and what a caller can do about it. Stable: add, never rename. */
export const reasons = {
  INVALID_REQUEST: { code: Code.InvalidArgument, help: "Correct the fields named in the BadRequest detail." },
  TASK_DATA_NOT_OBJECT: { code: Code.InvalidArgument, help: "Send task_data as one JSON object." },
  TASK_DATA_TOO_LARGE: {
    code: Code.InvalidArgument,
    help: "Store large data elsewhere and send a reference to it in task_data.",
  },
  TASK_DATA_SCHEMA_MISMATCH: {
    code: Code.InvalidArgument,
    help: "Make task_data match the JSON Schema that the capability declares.",
  },
  TASK_ID_CONFLICT: {
    code: Code.AlreadyExists,
    help: "Use a new task_id, or repeat the first request unchanged to get the task that exists.",
  },
  TASK_NOT_FOUND: {
    code: Code.NotFound,
    help: "Check task_id and namespace; finished tasks are kept for a limited time.",
  },
  AGENT_NOT_FOUND: { code: Code.NotFound, help: "Check agent_id and namespace." },
  AGENT_NOT_CONNECTED: { code: Code.FailedPrecondition, help: "Try again when the agent has a session." },
  VERSION_NOT_FOUND: { code: Code.NotFound, help: "Check the agent's name, the version and the namespace." },
  VERSION_BARRED: { code: Code.FailedPrecondition, help: "Promote the version first." },
  VERSION_CHANGED: { code: Code.Aborted, help: "Look at the version anew, and decide again." },
  LAST_HEALTHY_VERSION: {
    code: Code.FailedPrecondition,
    help: "Start agents of another version first, or say that it is to be done all the same.",
  },
  TOO_MANY_EJECTED: { code: Code.FailedPrecondition, help: "Wait until other agents of the name are back." },
  LIMIT_NOT_FOUND: { code: Code.NotFound, help: "Check the limit's name and namespace, or create it first." },
  RATE_LIMITED: {
    code: Code.ResourceExhausted,
    help: "Try again after the delay in the RetryInfo detail, or give the task when_limited: WAIT.",
  },
  RATE_LIMIT_UNREACHABLE: { code: Code.Unavailable, help: "Try again; see that the RateLimit service is up." },
  DATABASE_UNAVAILABLE: { code: Code.Unavailable, help: "Try again; see that Postgres is up." },
  SHUTTING_DOWN: {
    code: Code.Unavailable,
    help: "Try again: another replica, or this one after its restart, will answer.",
  },
  SESSION_FENCED: { code: Code.Aborted, help: "A newer session of this agent took over; run each agent_id only once." },
  SESSION_EXPIRED: { code: Code.Aborted, help: "Open a new session and name the attempts still in flight." },
  PROTOCOL_VIOLATION: { code: Code.InvalidArgument, help: "The client broke the stream's protocol; update its SDK." },
  HELLO_EXPECTED: { code: Code.InvalidArgument, help: "Send hello as the first message of the stream." },
  HELLO_REPEATED: { code: Code.InvalidArgument, help: "Send hello once, as the first message of the stream." },
  SCHEMA_INVALID: { code: Code.InvalidArgument, help: "Declare a valid JSON Schema for the capability." },
  SCHEMA_TOO_LARGE: { code: Code.InvalidArgument, help: "Declare a smaller JSON Schema for the capability." },
  SCHEMA_REMOTE: { code: Code.InvalidArgument, help: "Inline what $ref points at: remote schemas are never fetched." },
  SCHEMA_TOO_SLOW: { code: Code.InvalidArgument, help: "Simplify the JSON Schema: it takes too long to check." },
  STREAM_ONLY_ON_GRPC: { code: Code.Unimplemented, help: "Call this method on the service's gRPC port." },
  NOT_SUPPORTED: { code: Code.Unimplemented, help: "This server does not offer it." },
  INTERNAL: { code: Code.Internal, help: "A defect in the service: its log has the cause." },
} as const satisfies Record<string, { code: Code; help: string }>;

export type Reason = keyof typeof reasons;

export interface FieldViolation {
  /** Path in proto spelling, such as `retry_policy.max_attempts`. */
  field: string;
  description: string;
}

export interface LegionErrorOptions {
  /** Facts for machines, shown in ErrorInfo beside `help`. */
  metadata?: Record<string, string>;
  violations?: FieldViolation[];
  /** When the caller may try again, in milliseconds from now. */
  retryDelayMs?: number;
}

const domain = "legion";
// Details travel in one HTTP/2 header: gRPC peers commonly accept 8 KiB of headers in all, and base64 adds a third.
const maxViolations = 10;
const maxFieldLength = 128;
const maxDescriptionLength = 256;
const maxMetadataLength = 256;

/** An error that reaches the caller with its reason, on gRPC and on Connect alike. Violations past the tenth are left out. */
export function legionError(reason: Reason, message: string, options: LegionErrorOptions = {}): ConnectError {
  const { code, help } = reasons[reason];
  const metadata: Record<string, string> = { help };
  for (const [key, value] of Object.entries(options.metadata ?? {})) metadata[key] = shorten(value, maxMetadataLength);
  const error = new ConnectError(message, code, undefined, [
    { desc: ErrorInfoSchema, value: { reason, domain, metadata } },
  ]);
  if (options.violations !== undefined && options.violations.length > 0) {
    const fieldViolations = options.violations.slice(0, maxViolations).map(({ field, description }) => ({
      field: shorten(field, maxFieldLength),
      description: shorten(description, maxDescriptionLength),
    }));
    error.details.push({ desc: BadRequestSchema, value: { fieldViolations } });
  }
  if (options.retryDelayMs !== undefined) {
    const retryDelay = durationFromMs(Math.max(0, Math.ceil(options.retryDelayMs)));
    error.details.push({ desc: RetryInfoSchema, value: { retryDelay } });
  }
  return error;
}

/** Cuts in the middle of nothing: a surrogate pair that would be split is replaced. */
function shorten(text: string, maxLength: number): string {
  return (text.length <= maxLength ? text : `${text.slice(0, maxLength - 1)}…`).toWellFormed();
}

/** Any caught value as a ConnectError: what grpc-js throws keeps its code and details, other values become UNKNOWN. */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  if (isGrpcError(error)) return connectErrorFromGrpc(error);
  return ConnectError.from(error);
}

/** The reason Legion gave; undefined when the error comes from elsewhere, or from a newer server with one not in the table. */
export function errorReason(error: unknown): Reason | undefined {
  const info = toConnectError(error)
    .findDetails(ErrorInfoSchema)
    .find((detail) => detail.domain === domain);
  return info !== undefined && isReason(info.reason) ? info.reason : undefined;
}

function isReason(reason: string): reason is Reason {
  return Object.hasOwn(reasons, reason);
}

/** ErrorInfo's metadata, without `help`. */
export function errorMetadata(error: unknown): Record<string, string> {
  const info = toConnectError(error)
    .findDetails(ErrorInfoSchema)
    .find((detail) => detail.domain === domain);
  const { help: _, ...metadata } = info?.metadata ?? {};
  return metadata;
}

/** The fields at fault; empty when none are named. */
export function errorViolations(error: unknown): FieldViolation[] {
  return toConnectError(error)
    .findDetails(BadRequestSchema)
    .flatMap((detail) => detail.fieldViolations.map(({ field, description }) => ({ field, description })));
}

/** How long the server asks to wait, in milliseconds; undefined when it does not say. */
export function errorRetryDelayMs(error: unknown): number | undefined {
  const retryDelay = toConnectError(error).findDetails(RetryInfoSchema)[0]?.retryDelay;
  return retryDelay === undefined ? undefined : durationMs(retryDelay);
}

/** True when nobody answered, or who did asked to be tried again: the same call may succeed later. */
export function isUnavailable(error: unknown): boolean {
  return toConnectError(error).code === Code.Unavailable;
}
