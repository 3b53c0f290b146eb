import type { Logger } from "#libs/telemetry/logger.ts";
import type { TaskSpan } from "#libs/telemetry/task-spans.ts";

/** What a handler is told about the attempt it runs, and what it can say meanwhile. */
export interface TaskContext {
  readonly taskId: string;
  /** Which attempt this is, from 1. */
  readonly attempt: number;
  /** How many the task has in all. */
  readonly maxAttempts: number;
  /** Which of the agent's capabilities is asked for. */
  readonly capability: string;
  /** The user the task is for, as the client named it; empty: nobody in particular. */
  readonly user: string;
  readonly labels: Readonly<Record<string, string>>;
  /** When the mesh will cancel the attempt; undefined without an execution timeout. */
  readonly deadline: Date | undefined;
  /**
   * Aborts, with an `AttemptCanceled` as its reason, when the attempt is to stop. Whoever goes on for longer than the agent's
   * `cancelGraceMs` is answered for, and what it then returns counts for nothing.
   */
  readonly signal: AbortSignal;
  /** The span of this execution; it records nothing where tracing is off. */
  readonly span: TaskSpan;
  /** W3C trace context for what the handler calls; empty when the task is not traced. */
  readonly traceparent: string;
  /** Writes the agent's log with the task's id, the attempt and the trace on each record. */
  readonly log: Logger;
  /**
   * Tells whoever watches the task. Nothing waits for it and it may be lost: while there is no connection, and when the
   * mesh takes it too slowly. Without output only the latest of a moment is sent.
   * @param fraction how much is done, 0 to 1.
   * @param message for people; at most 1 KiB is kept.
   * @param output partial output: any JSON value, at most 64 KiB as JSON; larger is left out.
   */
  readonly progress: (fraction: number, message?: string, output?: unknown) => void;
  /**
   * What the execution really costs, by unit, such as `{ llm_tokens: 1_200 }`; settles the estimate reserved for it. Called
   * again, units given anew replace their former amount.
   * @throws RangeError if an amount is not a whole number from 0 to 10^12, a unit is misspelt, or there are more than 16.
   */
  readonly reportCosts: (costs: Readonly<Record<string, number | bigint>>) => void;
  /**
   * Asks that the limit under which the task ran admits nothing for a while, because something that the handler called
   * refused it; sent with the outcome. Nothing is asked for a delay of 0 or less; more than 24 h count as 24 h.
   * @param limit its name. Default: every limit that the task was counted against.
   */
  readonly pauseLimit: (delayMs: number, limit?: string) => void;
}
