import { create, toBinary } from "@bufbuild/protobuf";
import type { Clock } from "#libs/clock/clock.ts";
import { Batcher } from "#libs/db/batcher.ts";
import { isConnectionFailure, retryWhileDisconnected } from "#libs/db/connection-failure.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { FailedSchema, OutcomeSchema } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { unspecified } from "../core/task-state.ts";
import { canceled, type Decision } from "../core/outcomes.ts";
import {
  type AttemptNote,
  type AttemptTimes,
  resolveAttempts,
  type Resolution,
  type Resolved,
} from "../sql/resolve-attempts.ts";
import type { Ending } from "./ending.ts";
import { traceFinish } from "./tracing.ts";

export interface FinisherEvents {
  /** The outcome of a task is recorded. */
  ended(ending: Ending, decision: Extract<Decision, { kind: "final" }>, times: AttemptTimes): void;
  /** The task waits again. */
  again(ending: Ending, decision: Extract<Decision, { kind: "again" }>): void;
  /** Gates of concurrency limits got slots back that somebody waits for. */
  slotsFreed(gateKeys: number[]): void;
  /** Something was stored that the arbiter of limits is to be told. */
  noted(): void;
  /** The lease was not there any more: lost to somebody else, or resolved by a statement whose answer was lost. */
  lost(ending: Ending): void;
}

/** Tasks that something is being done to. */
export interface Followed extends Disposable {
  has(taskKey: number): boolean;
}

interface Item {
  resolution: Resolution;
  readonly ending: Ending;
  decision: Decision;
  isSecondLook: boolean;
  readonly done: ((held: boolean) => void) | undefined;
  readonly startMs: number;
}

/** Ends attempts, durably: group commit, repeated while Postgres is away, since repeating is harmless. */
export class Finisher implements AsyncDisposable {
  readonly #pool: ConnectionPool;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #events: FinisherEvents;
  readonly #stopping = new AbortController();
  /** Tasks whose end is on its way into the database. */
  readonly #pending = new Set<number>();
  readonly #followers = new Set<Set<number>>();
  readonly #batcher: Batcher<Item, AttemptTimes | false>;

  constructor(pool: ConnectionPool, clock: Clock, log: Logger, events: FinisherEvents) {
    this.#pool = pool;
    this.#clock = clock;
    this.#log = log;
    this.#events = events;
    this.#batcher = new Batcher({
      maxItems: 500,
      maxBytes: 8 * 1024 * 1024,
      sizeOf: ({ resolution }) => (resolution.outcome?.length ?? 0) + 100,
      run: (items) => this.#run(items),
    });
  }

  /** Ends of attempts that are on their way into the database. */
  get pending(): number {
    return this.#pending.size;
  }

  /**
   * The tasks whose end is on its way into the database now or will be as long as this is in use. Whoever looks for leases
   * that nobody holds begins it before the look: theirs are still found, and are held.
   */
  follow(): Followed {
    const followed = new Set(this.#pending);
    this.#followers.add(followed);
    return {
      has: (taskKey) => followed.has(taskKey),
      [Symbol.dispose]: () => this.#followers.delete(followed),
    };
  }

  /**
   * @param note what the arbiter of limits is to be told of the attempt, if the task is under a limit.
   * @param done told when it is committed, and whether the lease was still there. Not called if it could not be committed
   *   before this process ended.
   */
  finish(ending: Ending, decision: Decision, done?: (held: boolean) => void, note?: AttemptNote): void {
    this.#pending.add(ending.taskKey);
    for (const followed of this.#followers) followed.add(ending.taskKey);
    const resolution = { ...toResolution(ending, decision), note };
    const item: Item = { resolution, ending, decision, isSecondLook: false, done, startMs: this.#clock.now() };
    this.#batcher.push(item, (error, times) => this.#settled(item, error, times ?? false));
  }

  /** Resolves when everything that was given is committed, or cannot be. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#batcher.drain();
  }

  async #run(items: Item[]): Promise<(AttemptTimes | false)[]> {
    try {
      const resolved = await retryWhileDisconnected(
        () =>
          resolveAttempts(
            this.#pool,
            items.map((item) => item.resolution),
            (gateKeys) => this.#events.slotsFreed(gateKeys),
          ),
        { signal: this.#stopping.signal },
      );
      return await this.#cancelInstead(items, resolved);
    } catch (error) {
      if (isConnectionFailure(error) || items.length === 1) throw error;
      // One of them cannot be stored; it must not take the others with it.
      const middle = items.length >> 1;
      const halves = await Promise.all([this.#run(items.slice(0, middle)), this.#run(items.slice(middle))]);
      return halves.flat();
    }
  }

  /** Decides anew where somebody had asked for the task to be canceled after the attempt's end was decided. */
  async #cancelInstead(items: Item[], resolved: Resolved[]): Promise<(AttemptTimes | false)[]> {
    const late: Item[] = [];
    const answers: (AttemptTimes | false)[] = [];
    for (const [index, item] of items.entries()) {
      const answer = resolved[index] ?? false;
      const times = answer !== false && "finishTimeMs" in answer && answer;
      answers.push(times);
      if (answer !== false && "cancelReason" in answer) {
        item.decision = canceled(answer.cancelReason);
        item.resolution = { ...toResolution(item.ending, item.decision), note: item.resolution.note };
      } else if (times !== false || item.isSecondLook || standsAnyway(item.resolution)) {
        continue;
      }
      // A request that came while the statement ran is not seen by it: one more look at what seems to be gone.
      item.isSecondLook = true;
      late.push(item);
    }
    if (late.length === 0) return answers;
    const again = await this.#run(late);
    const lateAnswers = new Map(late.map((item, index) => [item, again[index]!]));
    return items.map((item, index) => lateAnswers.get(item) ?? answers[index]!);
  }

  #settled(
    { ending, decision, done, startMs, resolution }: Item,
    error: Error | null,
    times: AttemptTimes | false,
  ): void {
    this.#pending.delete(ending.taskKey);
    if (error !== null) {
      // The lease stays as it is; the sweep for leases that nobody holds gives the task to somebody else.
      const fields = { err: error, task_key: ending.taskKey };
      this.#log.withTrace(ending.traceparent).error("an attempt's end could not be stored", fields);
      // Whoever sent it must send it again, to the next process: nothing is acknowledged that is not recorded.
      if (isConnectionFailure(error)) return;
    } else if (times === false) {
      this.#events.lost(ending);
    } else if (decision.kind === "final") {
      traceFinish(ending, decision, { startMs, clock: this.#clock });
      this.#events.ended(ending, decision, times);
    } else {
      traceFinish(ending, decision, { startMs, clock: this.#clock });
      this.#events.again(ending, decision);
    }
    if (times !== false && resolution.note !== undefined) this.#events.noted();
    done?.(times !== false);
  }
}

/** Whether it holds though somebody has asked for the task to be canceled. */
function standsAnyway({ state }: Resolution): boolean {
  return state === TaskState.COMPLETED || state === TaskState.CANCELED;
}

function toResolution(ending: Ending, decision: Decision): Resolution {
  const fence = { taskKey: ending.taskKey, attempt: ending.attempt, sessionKey: ending.session.sessionKey };
  if (decision.kind === "final") {
    const outcome = toBinary(OutcomeSchema, decision.outcome);
    return { ...fence, state: decision.state, outcome, attempts: 0, lastFailure: null, delayMs: 0 };
  }
  const lastFailure = decision.failure ? toBinary(FailedSchema, create(FailedSchema, decision.failure)) : null;
  return {
    ...fence,
    state: unspecified,
    outcome: null,
    attempts: decision.attempts,
    lastFailure,
    delayMs: decision.delayMs,
  };
}
