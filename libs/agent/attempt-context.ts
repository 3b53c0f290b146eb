import { durationMs } from "@bufbuild/protobuf/wkt";
import type { AttemptProgress } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { startSpan, type TaskSpan } from "#libs/telemetry/task-spans.ts";
import type { Attempt } from "./attempt.ts";
import { cutBytes, delay, payload } from "./messages.ts";
import type { TaskContext } from "./task-context.ts";

const maxOutputBytes = 64 * 1024;
const maxCosts = 16;
const maxAmount = 1_000_000_000_000n;

/** The agent, as a context sees it. */
export interface ContextHost {
  readonly log: Logger;
  report(progress: AttemptProgress): void;
}

/** Most of it is made when asked for: most handlers ask for little, and there is one for every task. */
export class AttemptContext implements TaskContext {
  readonly #attempt: Attempt;
  readonly #host: ContextHost;
  #span: TaskSpan | undefined;
  #log: Logger | undefined;

  constructor(attempt: Attempt, host: ContextHost) {
    this.#attempt = attempt;
    this.#host = host;
    this.#span = attempt.span;
  }

  get taskId(): string {
    return this.#attempt.assignment.taskId;
  }

  get attempt(): number {
    return this.#attempt.assignment.attempt;
  }

  get maxAttempts(): number {
    return this.#attempt.assignment.maxAttempts;
  }

  get capability(): string {
    return this.#attempt.assignment.capability;
  }

  get user(): string {
    return this.#attempt.assignment.user;
  }

  get labels(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#attempt.assignment.labels.map(({ key, value }) => [key, value]));
  }

  get deadline(): Date | undefined {
    const { executionTimeout } = this.#attempt.assignment;
    if (executionTimeout === undefined) return undefined;
    const leftMs = this.#attempt.receivedMs + durationMs(executionTimeout) - performance.now();
    return new Date(Date.now() + leftMs);
  }

  get signal(): AbortSignal {
    return this.#attempt.signal;
  }

  get span(): TaskSpan {
    // Without tracing this hands on the parent's own context.
    return (this.#span ??= startSpan("execute", { parent: this.#attempt.assignment }));
  }

  get traceparent(): string {
    return this.span.traceparent;
  }

  get log(): Logger {
    return (this.#log ??= this.#host.log
      .child({ task_id: this.taskId, attempt: this.attempt })
      .withTrace(this.traceparent));
  }

  // Handlers take these three out of the context, as `{ progress }`, so each brings its context along.
  get progress(): TaskContext["progress"] {
    return (fraction, message, output) => this.#progress(fraction, message, output);
  }

  get reportCosts(): TaskContext["reportCosts"] {
    return (costs) => this.#reportCosts(costs);
  }

  get pauseLimit(): TaskContext["pauseLimit"] {
    return (delayMs, limit) => this.#pauseLimit(delayMs, limit);
  }

  #progress(fraction: number, message = "", output?: unknown): void {
    if (this.#attempt.state !== "running") return;
    const json: string | undefined = output === undefined ? undefined : JSON.stringify(output);
    const data = json === undefined ? undefined : Buffer.from(json);
    if (data !== undefined && data.length > maxOutputBytes) {
      this.log.warn(`partial output of ${data.length} bytes is left out: the mesh takes ${maxOutputBytes}`);
    }
    this.#host.report({
      $typeName: "legion.registry.v1.AttemptProgress",
      taskId: this.taskId,
      attempt: this.attempt,
      fraction,
      message: cutBytes(message, 1024),
      output: data === undefined || data.length > maxOutputBytes ? undefined : payload(data),
    });
  }

  #reportCosts(costs: Readonly<Record<string, number | bigint>>): void {
    const all = new Map(this.#attempt.costs);
    for (const [unit, amount] of Object.entries(costs)) {
      if (!/^[A-Za-z0-9_]{0,63}$/.test(unit)) throw new RangeError(`A cost's unit cannot be called ${unit}.`);
      if (typeof amount === "number" && !Number.isInteger(amount)) throw unusable(unit, amount);
      const whole = BigInt(amount);
      if (whole < 0n || whole > maxAmount) throw unusable(unit, amount);
      all.set(unit, whole);
    }
    if (all.size > maxCosts) throw new RangeError(`An execution has costs in at most ${maxCosts} units.`);
    this.#attempt.costs = all;
  }

  #pauseLimit(delayMs: number, limit = ""): void {
    if (Number.isNaN(delayMs)) throw new RangeError("A pause cannot last NaN milliseconds.");
    const retryDelay = delay(delayMs);
    if (retryDelay.seconds === 0n && retryDelay.nanos === 0) return;
    this.#attempt.pause = { $typeName: "legion.registry.v1.Pause", retryDelay, limit: cutBytes(limit, 128) };
  }
}

function unusable(unit: string, amount: number | bigint): RangeError {
  return new RangeError(`A cost of ${amount} ${unit} cannot be: expected a whole number from 0 to 10^12.`);
}
