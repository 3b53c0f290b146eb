import type { Assignment, AttemptProgress, AttemptRef } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { CancelCause } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { Attempt, attemptKey } from "./attempt.ts";
import { AttemptContext } from "./attempt-context.ts";
import type { InputCheck } from "./capability.ts";
import { executionStats } from "./execution-stats.ts";
import { failureOf } from "./failure.ts";
import { readTaskData, type TaskData, writeResult } from "./json.ts";
import { MemoryGauge } from "./memory.ts";
import { canceled, completed, failed } from "./messages.ts";
import { Outbox } from "./outbox.ts";
import { ThrownErrors } from "./thrown-errors.ts";
import { AttemptCanceled, type CancelCauseName } from "./task-error.ts";
import type { TaskContext } from "./task-context.ts";
import { endExecuteSpan, runUnder, type SpanIdentity, startExecuteSpan } from "./tracing.ts";

/** Runs an attempt: returns its result, or a promise of it, or throws. */
export type Handler = (data: TaskData, context: TaskContext) => unknown;

export interface RunnerOptions {
  readonly identity: SpanIdentity;
  readonly capabilities: ReadonlyMap<string, InputCheck | undefined>;
  readonly handler: Handler;
  readonly cancelGraceMs: number;
  readonly log: Logger;
  /** An outcome has come into the outbox. */
  readonly onOutcome: () => void;
  /** Nothing is held any more. */
  readonly onEmpty: () => void;
  readonly onProgress: (progress: AttemptProgress) => void;
}

// Handlers of one frame start in slices of this length: between slices heartbeats go out and frames come in, even if
// each of 500 handlers burns 20 ms before it first waits for something.
const sliceMs = 20;

/** Runs attempts, whatever becomes of the connection they came by. */
export class Runner implements Disposable {
  /** Every attempt from its assignment until its outcome is acknowledged. */
  readonly held = new Map<string, Attempt>();
  readonly outbox = new Outbox();
  readonly counts = { completed: 0, failed: 0, canceled: 0 };
  /** As the mesh said in its welcome. */
  maxResultBytes = Infinity;
  readonly #options: RunnerOptions;
  readonly #memory = new MemoryGauge();
  readonly #thrown: ThrownErrors;
  readonly #report: { readonly log: Logger; report(progress: AttemptProgress): void };
  #waiting: Attempt[] = [];
  #starting = false;
  #longestTurn = { capability: "", durationMs: 0 };

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#thrown = new ThrownErrors(options.log);
    this.#report = { log: options.log, report: options.onProgress };
  }

  /** Attempts that wait or run: those whose outcome is only not yet acknowledged are not among them. */
  get inFlight(): number {
    return this.held.size - this.outbox.size;
  }

  /** What ran longest without a pause since this was last asked. */
  takeLongestTurn(): { readonly capability: string; readonly durationMs: number } {
    const longest = this.#longestTurn;
    this.#longestTurn = { capability: "", durationMs: 0 };
    return longest;
  }

  /** Its handler starts in a later turn of the event loop, when the acknowledgement of its frame is on its way. */
  accept(assignment: Assignment): void {
    const key = attemptKey(assignment);
    if (this.held.has(key)) return;
    const attempt = new Attempt(key, assignment, performance.now());
    this.held.set(key, attempt);
    this.#waiting.push(attempt);
    if (this.#starting) return;
    this.#starting = true;
    setImmediate(() => this.#startSome());
  }

  #startSome(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const endMs = performance.now() + sliceMs;
    let started = 0;
    while (started < waiting.length) {
      const attempt = waiting[started++]!;
      if (attempt.state === "waiting" && this.#start(attempt) > endMs) break;
    }
    this.#waiting = [...waiting.slice(started), ...this.#waiting];
    this.#starting = this.#waiting.length > 0;
    if (this.#starting) setImmediate(() => this.#startSome());
  }

  /** Never throws. Returns `performance.now()` after the handler's first turn. */
  #start(attempt: Attempt): number {
    const { assignment } = attempt;
    attempt.state = "running";
    attempt.startedMs = performance.now();
    attempt.memoryBeforeBytes = this.#memory.residentBytes(attempt.startedMs);
    attempt.span = startExecuteSpan(assignment, this.#options.identity);
    try {
      const running = attempt.span ? runUnder(attempt.span, () => this.#run(attempt)) : this.#run(attempt);
      if (isThenable(running)) {
        Promise.resolve(running).then(
          (result) => this.#finished(attempt, result),
          (thrown: unknown) => this.#threw(attempt, thrown),
        );
      } else {
        this.#finished(attempt, running);
      }
    } catch (thrown) {
      this.#threw(attempt, thrown);
    }
    const nowMs = performance.now();
    const durationMs = nowMs - attempt.startedMs;
    if (durationMs > this.#longestTurn.durationMs)
      this.#longestTurn = { capability: assignment.capability, durationMs };
    return nowMs;
  }

  #run(attempt: Attempt): unknown {
    const data = readTaskData(attempt.assignment.taskData);
    const check = this.#options.capabilities.get(attempt.assignment.capability);
    const context = new AttemptContext(attempt, this.#report);
    if (check === undefined) return this.#options.handler(data, context);
    const checked = check(data);
    if (!(checked instanceof Promise)) return this.#options.handler(checked, context);
    return checked.then((value) => this.#options.handler(value, context));
  }

  #finished(attempt: Attempt, result: unknown): void {
    if (attempt.state !== "running") return;
    if (attempt.canceled !== undefined && attempt.canceled.cause !== "AGENT_STOPPED") {
      this.#answerCanceled(attempt, attempt.canceled);
      return;
    }
    try {
      const bytes = writeResult(result, this.maxResultBytes);
      this.#answer(attempt, completed(bytes), "completed");
    } catch (thrown) {
      this.#threw(attempt, thrown);
    }
  }

  #threw(attempt: Attempt, thrown: unknown): void {
    if (attempt.state !== "running") return;
    if (attempt.canceled !== undefined) {
      this.#answerCanceled(attempt, attempt.canceled);
      return;
    }
    const failure = failureOf(thrown, this.maxResultBytes);
    this.#thrown.note(thrown, attempt.assignment);
    attempt.span?.recordError(thrown);
    this.#answer(attempt, failed(failure), "failed");
  }

  #answerCanceled(attempt: Attempt, { cause, message }: AttemptCanceled): void {
    if (cause === "AGENT_STOPPED") {
      this.#answer(attempt, failed({ code: cause, message, retryable: true, retryDelayMs: 0 }), "failed");
    } else {
      this.#answer(attempt, canceled(message), "canceled");
    }
  }

  #answer(attempt: Attempt, outcome: Parameters<Attempt["answer"]>[0], kind: keyof Runner["counts"]): void {
    const ran = attempt.state === "running";
    attempt.answer(outcome, ran ? executionStats(attempt, this.#memory) : undefined);
    endExecuteSpan(attempt.span, outcome);
    this.counts[kind]++;
    this.outbox.add(attempt);
    this.#options.onOutcome();
  }

  /** The mesh asks for an attempt to stop. */
  cancel(ref: { taskId: string; attempt: number }, cause: CancelCause, reason: string): void {
    const attempt = this.held.get(attemptKey(ref));
    if (attempt !== undefined) this.#cancel(attempt, new AttemptCanceled(causeNames[cause] ?? "REQUESTED", reason));
  }

  /** The agent stops: whatever still runs is asked to stop too, and answered for after the grace. */
  cancelAll(): void {
    for (const attempt of this.held.values()) this.#cancel(attempt, new AttemptCanceled("AGENT_STOPPED", ""));
  }

  #cancel(attempt: Attempt, reason: AttemptCanceled): void {
    if (attempt.state === "waiting") {
      attempt.cancel(reason);
      this.#answerCanceled(attempt, reason);
      return;
    }
    if (attempt.state !== "running" || attempt.canceled !== undefined) return;
    const { cancelGraceMs, log } = this.#options;
    attempt.graceTimer = setTimeout(() => {
      if (attempt.state !== "running") return;
      const { capability, taskId, traceparent } = attempt.assignment;
      const message = `a handler of ${capability} goes on after it was asked to stop; its slot is given to others`;
      log.withTrace(traceparent).warn(message, {
        task_id: taskId,
        attempt: attempt.assignment.attempt,
        cause: reason.cause,
        grace_ms: cancelGraceMs,
      });
      this.#answerCanceled(attempt, reason);
    }, cancelGraceMs);
    attempt.cancel(reason);
  }

  /** The mesh has dealt with all outcomes sent in frames up to `seq`. */
  acknowledge(seq: number): void {
    const done = this.outbox.acknowledge(seq);
    for (const attempt of done) this.held.delete(attempt.key);
    if (done.length > 0 && this.held.size === 0) this.#options.onEmpty();
  }

  /**
   * One stream is over or another begins: `refs` are no longer ours, their handlers are asked to stop and their outcomes
   * not sent; every other outcome that is not acknowledged is sent on the next stream. Returns how many were lost.
   */
  rewind(refs: Iterable<AttemptRef | Attempt>, reason: string): number {
    let lost = 0;
    for (const ref of refs) {
      const attempt = ref instanceof Attempt ? ref : this.held.get(attemptKey(ref));
      if (attempt === undefined) continue;
      lost++;
      this.held.delete(attempt.key);
      attempt.lose(new AttemptCanceled("LEASE_LOST", reason));
      attempt.span?.end();
    }
    this.outbox.rewind();
    if (lost > 0 && this.held.size === 0) this.#options.onEmpty();
    return lost;
  }

  [Symbol.dispose](): void {
    this.rewind([...this.held.values()], "The agent has stopped.");
    this.#memory[Symbol.dispose]();
  }
}

const causeNames: Record<number, CancelCauseName> = {
  [CancelCause.REQUESTED]: "REQUESTED",
  [CancelCause.TIMEOUT]: "TIMEOUT",
  [CancelCause.LEASE_LOST]: "LEASE_LOST",
};

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
