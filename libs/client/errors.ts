import { Code, ConnectError } from "@connectrpc/connect";
import type { Status } from "#libs/proto/google/rpc/status_pb.ts";
import { ErrorInfoSchema } from "#libs/proto/google/rpc/error_details_pb.ts";
import { errorReason, errorRetryDelayMs, errorViolations, reasons, toConnectError } from "#libs/rpc/errors.ts";
import type { FieldViolation } from "#libs/rpc/errors.ts";
import { codeName } from "#libs/rpc/grpc-status.ts";
import type { JsonValue } from "./json.ts";

export interface LegionErrorInit {
  code: string;
  reason?: string | undefined;
  help?: string | undefined;
  violations?: readonly FieldViolation[];
  retryDelayMs?: number | undefined;
  taskId?: string | undefined;
  cause?: unknown;
}

/** The mesh, or this client before anything left it, did not do what it was asked. No attempt at a task is behind it. */
export class LegionError extends Error {
  override name = "LegionError";
  /** gRPC's name of the status, such as `INVALID_ARGUMENT`. */
  readonly code: string;
  /** A stable word for programs, such as `TASK_DATA_NOT_OBJECT`. Absent when the error is not Legion's own. */
  readonly reason: string | undefined;
  /** What to do about it. */
  readonly help: string | undefined;
  /** The fields at fault, with their paths in proto spelling. */
  readonly violations: readonly FieldViolation[];
  /** How long the mesh asks to wait before the next try. */
  readonly retryDelayMs: number | undefined;
  /** The task it is about, if it is about one. */
  readonly taskId: string | undefined;

  constructor(message: string, init: LegionErrorInit) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code;
    this.reason = init.reason;
    this.help = init.help;
    this.violations = init.violations ?? [];
    this.retryDelayMs = init.retryDelayMs;
    this.taskId = init.taskId;
  }
}

/** The caller's `timeoutMs` passed without an outcome. The task goes on. */
export class WaitTimeoutError extends LegionError {
  override name = "WaitTimeoutError";
  override readonly taskId: string;

  constructor(taskId: string, timeoutMs: number, lastTrouble?: LegionError) {
    const trouble = lastTrouble === undefined ? "" : ` The last trouble was: ${lastTrouble.message}`;
    super(`No outcome of task ${taskId} within ${timeoutMs} ms; the task goes on.${trouble}`, {
      code: "DEADLINE_EXCEEDED",
      taskId,
      cause: lastTrouble,
    });
    this.taskId = taskId;
  }
}

export interface TaskFailure {
  code: string;
  message: string;
  retryable: boolean;
  /** What the agent added, for programs. */
  details?: JsonValue | Uint8Array | undefined;
}

/** The task ended `FAILED`, or `DEAD`: out of attempts. */
export class TaskFailedError extends Error {
  override name = "TaskFailedError";
  readonly taskId: string;
  readonly state: "FAILED" | "DEAD";
  /** The attempt whose failure it is, from 1. */
  readonly attempt: number;
  /** The agent's word for the failure, such as `EXECUTION_TIMEOUT` or `ValueError`. */
  readonly code: string;
  readonly retryable: boolean;
  readonly details: JsonValue | Uint8Array | undefined;

  constructor(taskId: string, state: "FAILED" | "DEAD", attempt: number, failure: TaskFailure) {
    super(failure.message);
    this.taskId = taskId;
    this.state = state;
    this.attempt = attempt;
    this.code = failure.code;
    this.retryable = failure.retryable;
    this.details = failure.details;
  }
}

/** The task was stopped because somebody asked for that. */
export class TaskCanceledError extends Error {
  override name = "TaskCanceledError";
  readonly taskId: string;
  /** In the words of who asked. May be empty. */
  readonly reason: string;

  constructor(taskId: string, reason: string) {
    super(`Task ${taskId} was canceled${reason === "" ? "." : `: ${reason}`}`);
    this.taskId = taskId;
    this.reason = reason;
  }
}

/** Whatever a call threw, as a LegionError. */
export function toLegionError(thrown: unknown, taskId?: string): LegionError {
  if (thrown instanceof LegionError) return thrown;
  const error = toConnectError(thrown);
  const info = error.findDetails(ErrorInfoSchema)[0];
  const message = error.rawMessage === "" ? `The call failed with ${codeName(error.code)}.` : error.rawMessage;
  return new LegionError(message, {
    code: codeName(error.code),
    reason: errorReason(error),
    help: info?.metadata["help"],
    violations: errorViolations(error),
    retryDelayMs: errorRetryDelayMs(error),
    taskId,
    cause: thrown,
  });
}

/** As `toLegionError`; where nobody answered, the message says who was asked. */
export function connectionError(thrown: unknown, target: string): LegionError {
  const error = toLegionError(thrown);
  if (error.code !== "UNAVAILABLE" || error.reason !== undefined) return error;
  const why = /connect E\w+|ENOTFOUND|EAI_AGAIN/.exec(error.message)?.[0] ?? error.message;
  return new LegionError(`No Dispatcher answers at ${target} (${why}).`, { code: error.code, cause: thrown });
}

/** True for an answer that another try may change: nobody was there, or the connection was lost under the call. */
export function isTransient({ code, reason }: LegionError): boolean {
  if (code === "UNAVAILABLE") return true;
  // What grpc-js makes of a connection that ends under a call, depending on the moment.
  return reason === undefined && (code === "CANCELLED" || code === "INTERNAL" || code === "UNKNOWN");
}

/** The answer about one task among many. */
export function legionErrorFromStatus(status: Status, taskId: string): LegionError {
  const error = new ConnectError(status.message, knownCode(status.code));
  error.details = status.details.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return toLegionError(error, taskId);
}

function knownCode(code: number): Code {
  // eslint-disable-next-line typescript/no-unsafe-enum-assignment -- by definition the same numbers
  return code in Code ? code : Code.Unknown;
}

/** A refusal made here, before anything is sent, in the same words as the mesh's. */
export function refusal(reason: keyof typeof reasons, message: string): LegionError {
  const { code, help } = reasons[reason];
  return new LegionError(message, { code: codeName(code), reason, help });
}
