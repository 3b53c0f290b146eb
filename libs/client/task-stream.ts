import { backoffDelayMs } from "#libs/clock/backoff.ts";
import { systemClock } from "#libs/clock/clock.ts";
import type {
  StreamOutcome,
  SubmitResult,
  SubmitStreamResponse,
  SubmitTaskResponse,
} from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Endpoints } from "./endpoints.ts";
import { LegionError, legionErrorFromStatus, toLegionError, WaitTimeoutError } from "./errors.ts";
import { Fifo } from "./fifo.ts";
import { limitWait, newPending } from "./pending-task.ts";
import type { PendingTask, WaitOptions } from "./pending-task.ts";
import { SubmitLink } from "./submit-link.ts";

export interface TaskStreamOptions {
  readonly endpoints: Endpoints;
  /** Tasks handed over and not yet answered; further ones wait here. Default 1,000. */
  readonly maxOutstanding?: number;
  /** The mesh is away, or cannot take tasks for now. Told at each try that fails; what waits goes on waiting. */
  readonly onTrouble?: (error: LegionError) => void;
  /** It answers again, after trouble. */
  readonly onRecovered?: () => void;
}

// A first retry within 100 ms hides a broken connection; 2 s is what a restarting service may take longer to be found.
const backoff = { initialMs: 100, maxMs: 2_000 };
// Ends of a stream that another try cannot mend.
const final = new Set([
  "INVALID_ARGUMENT",
  "UNIMPLEMENTED",
  "UNAUTHENTICATED",
  "PERMISSION_DENIED",
  "FAILED_PRECONDITION",
]);

/**
 * Hands tasks to the Dispatcher over one stream, and tells how they came out. Every task has an id, so a stream that breaks
 * is opened again and all that is unanswered is handed over again: the Dispatcher knows it already, or takes it now.
 */
export class TaskStream implements Disposable {
  readonly #options: TaskStreamOptions;
  readonly #maxOutstanding: number;
  readonly #outstanding = new Map<number, PendingTask>();
  readonly #waiting = new Fifo<PendingTask>();
  /** Waits for the end of the pause. */
  #held: PendingTask[] = [];
  #link: SubmitLink | undefined;
  #pause: Disposable | undefined;
  #trouble: LegionError | undefined;
  #failures = 0;
  #lastRef = 0;
  /** The Dispatcher owes the stream outcomes that nobody waits for. */
  #forsaken = false;
  #closed = false;

  constructor(options: TaskStreamOptions) {
    this.#options = options;
    this.#maxOutstanding = options.maxOutstanding ?? 1_000;
  }

  /** Tasks handed over and not yet answered. */
  get outstanding(): number {
    return this.#outstanding.size;
  }

  /**
   * Resolves with the outcome, whichever it is. The spec must carry a `taskId`.
   * @throws LegionError when the task is refused; WaitTimeoutError; the signal's reason
   */
  run(spec: TaskSpec, wait?: WaitOptions): Promise<StreamOutcome> {
    const { promise, resolve, reject } = Promise.withResolvers<StreamOutcome>();
    this.#add({ ...newPending(spec, reject), wants: "outcome", resolve }, wait);
    return promise;
  }

  /**
   * Resolves when the task is stored.
   * @throws LegionError when the task is refused; WaitTimeoutError; the signal's reason
   */
  submit(spec: TaskSpec, wait?: WaitOptions): Promise<SubmitTaskResponse> {
    const { promise, resolve, reject } = Promise.withResolvers<SubmitTaskResponse>();
    this.#add({ ...newPending(spec, reject), wants: "receipt", resolve }, wait);
    return promise;
  }

  /** Whoever still waits is told CANCELLED; their tasks go on. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#pause?.[Symbol.dispose]();
    if (this.#outstanding.size === 0 && !this.#forsaken) this.#link?.end();
    else this.#link?.cancel();
    this.#rejectAll(({ spec }) => closedError(spec.taskId));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #add(task: PendingTask, wait: WaitOptions = {}): void {
    const { timeoutMs, signal } = wait;
    if (this.#closed) return task.reject(closedError(task.spec.taskId));
    if (signal?.aborted) return task.reject(signal.reason);
    if (timeoutMs !== undefined || signal !== undefined) limitWait(task, wait, () => this.#giveUp(task, wait));
    if (this.#outstanding.size < this.#maxOutstanding && this.#waiting.length === 0) this.#launch(task);
    else this.#waiting.push(task);
  }

  #giveUp(task: PendingTask, { timeoutMs, signal }: WaitOptions): void {
    if (!this.#settle(task)) return;
    this.#forsaken = true;
    if (signal?.aborted) task.reject(signal.reason);
    else task.reject(new WaitTimeoutError(task.spec.taskId, timeoutMs ?? 0, task.trouble ?? this.#trouble));
  }

  #launch(task: PendingTask): void {
    task.ref = ++this.#lastRef;
    this.#outstanding.set(task.ref, task);
    this.#send(task);
  }

  #send(task: PendingTask): void {
    if (this.#pause !== undefined) this.#held.push(task);
    else (this.#link ??= this.#open()).send(task);
  }

  #open(): SubmitLink {
    const { endpoints } = this.#options;
    const { channel } = endpoints;
    return new SubmitLink(channel, {
      onResponse: (response) => this.#receive(response),
      onClosed: (error) => {
        endpoints.failed(channel);
        this.#broken(error);
      },
    });
  }

  /** False if it was settled before. The next waiting task takes its place. */
  #settle(task: PendingTask): boolean {
    if (task.settled) return false;
    task.settled = true;
    task.stopWaiting?.();
    if (this.#outstanding.delete(task.ref)) this.#admit();
    return true;
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#outstanding.size < this.#maxOutstanding) {
      const next = this.#waiting.shift();
      // Its caller may have given up meanwhile.
      if (next !== undefined && !next.settled) this.#launch(next);
    }
  }

  #receive({ results, outcomes }: SubmitStreamResponse): void {
    for (const result of results) this.#receiveResult(result);
    for (const outcome of outcomes) {
      const task = this.#outstanding.get(Number(outcome.ref));
      if (task?.wants === "outcome" && this.#settle(task)) task.resolve(outcome);
      this.#recovered();
    }
  }

  #receiveResult({ ref, kind }: SubmitResult): void {
    const task = this.#outstanding.get(Number(ref));
    if (task === undefined) return;
    if (kind.case === "accepted") {
      if (task.wants === "receipt" && this.#settle(task)) task.resolve(kind.value);
      this.#recovered();
    } else if (kind.case === "error") {
      const error = legionErrorFromStatus(kind.value, task.spec.taskId);
      if (error.code === "UNAVAILABLE") this.#retryLater(task, error);
      else {
        if (this.#settle(task)) task.reject(error);
        this.#recovered();
      }
    }
  }

  #recovered(): void {
    if (this.#trouble === undefined) return;
    this.#failures = 0;
    this.#trouble = undefined;
    this.#options.onRecovered?.();
  }

  /** The stream is well, but the mesh cannot take tasks for now; it will have said so for many of them. */
  #retryLater(task: PendingTask, error: LegionError): void {
    task.trouble = error;
    this.#held.push(task);
    if (this.#pause === undefined) this.#pauseFor(error);
  }

  #broken(error: LegionError): void {
    this.#link = undefined;
    this.#forsaken = false;
    if (this.#closed) return;
    if (final.has(error.code)) {
      this.#rejectAll(({ spec }) => toLegionError(error.cause, spec.taskId));
      return;
    }
    // Whatever of it the Dispatcher has, it knows by its id.
    this.#held = [...this.#outstanding.values()];
    if (this.#held.length > 0) this.#pauseFor(error);
  }

  /** Nothing is sent until a while has passed, a longer one after each failure. */
  #pauseFor(error: LegionError): void {
    this.#pause?.[Symbol.dispose]();
    const delayMs = Math.max(error.retryDelayMs ?? 0, backoffDelayMs(++this.#failures, backoff));
    this.#trouble = error;
    this.#pause = systemClock.setTimer(() => {
      this.#pause = undefined;
      for (const task of this.#held.splice(0)) {
        if (!task.settled) this.#send(task);
      }
    }, delayMs);
    this.#options.onTrouble?.(error);
  }

  #rejectAll(errorFor: (task: PendingTask) => LegionError): void {
    this.#held = [];
    const tasks = [...this.#outstanding.values(), ...this.#waiting.clear()];
    for (const task of tasks) {
      if (this.#settle(task)) task.reject(errorFor(task));
    }
  }
}

function closedError(taskId: string): LegionError {
  return new LegionError(
    `This client was closed before task ${taskId} was answered; if it was handed over it goes on.`,
    {
      code: "CANCELLED",
      taskId,
    },
  );
}
