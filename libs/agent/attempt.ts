import type { ExecutionStats } from "#libs/proto/legion/common/v1/execution_stats_pb.ts";
import type { Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import type { Assignment, AttemptOutcome, Pause } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { TaskSpan } from "#libs/telemetry/task-spans.ts";
import type { AttemptCanceled } from "./task-error.ts";

/** `lost`: no longer ours, or answered for without us; whatever its handler still does counts for nothing. */
export type AttemptState = "waiting" | "running" | "answered" | "lost";

/** An attempt that this agent holds: from its assignment until its outcome is acknowledged. */
export class Attempt {
  readonly key: string;
  readonly assignment: Assignment;
  /** `performance.now()`. */
  readonly receivedMs: number;
  state: AttemptState = "waiting";
  /** `performance.now()`. */
  startedMs = 0;
  memoryBeforeBytes = 0n;
  span: TaskSpan | undefined;
  canceled: AttemptCanceled | undefined;
  graceTimer: NodeJS.Timeout | undefined;
  costs: Map<string, bigint> | undefined;
  pause: Pause | undefined;
  outcome: AttemptOutcome | undefined;
  #controller: AbortController | undefined;

  constructor(key: string, assignment: Assignment, receivedMs: number) {
    this.key = key;
    this.assignment = assignment;
    this.receivedMs = receivedMs;
  }

  /** Made only when asked for: few handlers look. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.canceled !== undefined) this.#controller.abort(this.canceled);
    }
    return this.#controller.signal;
  }

  /** Only the first time counts. */
  cancel(reason: AttemptCanceled): void {
    if (this.canceled !== undefined) return;
    this.canceled = reason;
    this.#controller?.abort(reason);
  }

  answer(outcome: Outcome, stats: ExecutionStats | undefined): void {
    clearTimeout(this.graceTimer);
    this.state = "answered";
    const { taskId, attempt } = this.assignment;
    this.outcome = {
      $typeName: "legion.registry.v1.AttemptOutcome",
      taskId,
      attempt,
      outcome,
      stats,
      pause: this.pause,
    };
  }

  lose(reason: AttemptCanceled): void {
    clearTimeout(this.graceTimer);
    this.state = "lost";
    this.cancel(reason);
  }
}

/** Tells the attempts of a session apart; all are of one namespace. */
export function attemptKey({ taskId, attempt }: { taskId: string; attempt: number }): string {
  return `${attempt}/${taskId}`;
}
