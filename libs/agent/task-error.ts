export interface TaskErrorOptions extends ErrorOptions {
  /** A stable word for programs. At most 128 bytes; longer is cut. Default `ERROR`. */
  readonly code?: string;
  /** Whether another attempt may help; false ends the task at once. Default true. */
  readonly retryable?: boolean;
  /** Wait at least this long before the next attempt, in milliseconds; at most 24 h. Default: the task's retry policy decides. */
  readonly retryDelayMs?: number;
  /** More about the failure, for programs: any JSON value. Counts towards the result's size limit. */
  readonly details?: unknown;
  /** The caller's doing (input that makes no sense, say): the Watchdog does not hold it against the agent. Default false. */
  readonly callerFault?: boolean;
}

/** Thrown by a handler to say exactly how its attempt failed. */
export class TaskError extends Error {
  override readonly name: string = "TaskError";
  readonly code: string;
  readonly retryable: boolean;
  readonly retryDelayMs: number | undefined;
  readonly details: unknown;
  readonly callerFault: boolean;

  /** @param message a sentence for people; more than 16 KiB of it is cut. */
  constructor(message: string, options: TaskErrorOptions = {}) {
    super(message, options);
    this.code = options.code ?? "ERROR";
    this.retryable = options.retryable ?? true;
    this.retryDelayMs = options.retryDelayMs;
    this.details = options.details;
    this.callerFault = options.callerFault ?? false;
  }
}

/** Why the mesh wants an attempt to stop. */
export type CancelCauseName = "REQUESTED" | "TIMEOUT" | "LEASE_LOST" | "AGENT_STOPPED";

/** The reason of a context's `signal` when its attempt is to stop. */
export class AttemptCanceled extends Error {
  override readonly name: string = "AttemptCanceled";
  /**
   * `REQUESTED`: somebody canceled the task. `TIMEOUT`: its execution timeout has passed. `LEASE_LOST`: the attempt is no
   * longer this agent's. `AGENT_STOPPED`: the agent stops and waits no longer.
   */
  override readonly cause: CancelCauseName;

  constructor(cause: CancelCauseName, reason: string) {
    super(reason === "" ? sentences[cause] : reason);
    this.cause = cause;
  }
}

const sentences: Record<CancelCauseName, string> = {
  REQUESTED: "The task was canceled.",
  TIMEOUT: "The execution timeout has passed.",
  LEASE_LOST: "The attempt is no longer this agent's.",
  AGENT_STOPPED: "The agent stops.",
};
