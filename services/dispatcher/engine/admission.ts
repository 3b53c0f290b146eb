import { toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { randomUUIDv7 } from "node:crypto";
import type { Clock } from "#libs/clock/clock.ts";
import { Batcher } from "#libs/db/batcher.ts";
import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { TaskSpecSchema, TaskState, type TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { validate } from "#libs/rpc/validate.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { newTraceparent, SpanKind, startSpan, type TaskSpan } from "#libs/telemetry/task-spans.ts";
import { checkTaskData, isPlainlyValid } from "../core/task-check.ts";
import { findTasks } from "../sql/find-tasks.ts";
import { insertLimitedTasks, isLimited, isParked, type LaneEntry } from "../sql/insert-limited-tasks.ts";
import { insertTasks, type InsertedTask, type NewTask } from "../sql/insert-tasks.ts";
import type { Assigner } from "./assigner.ts";
import type { InputSchemas } from "./input-schemas.ts";
import type { Admitted, LaneAdmission } from "./lane-admission.ts";
import type { LiveRoute, RouteTable } from "./route-table.ts";
import { sameTask, type Accepted } from "./same-task.ts";
import type { SegmentKeeper } from "./segment-keeper.ts";
import { taskName, type HomeSession } from "./session.ts";
import { taskAttributes } from "./spans.ts";
import { toStorageError } from "./storage-error.ts";
import type { SubmissionCounts } from "./submission-counts.ts";
import { endOf } from "./task-view.ts";
import type { Waiter, Waiters } from "./waiters.ts";

export type AdmissionCallback = (error: Error | null, accepted?: Accepted) => void;

interface Candidate {
  readonly spec: TaskSpec;
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly route: LiveRoute;
  readonly dueTimeMs: number | null;
  readonly waiter: Waiter | undefined;
  /** Undefined if no limit counts it. */
  readonly lane: LaneEntry | undefined;
  session: HomeSession | undefined;
}

export interface AdmissionParts {
  readonly pool: ConnectionPool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly routes: RouteTable;
  readonly segments: SegmentKeeper;
  readonly assigner: Assigner;
  readonly lanes: LaneAdmission;
  readonly schemas: InputSchemas;
  readonly waiters: Waiters;
  readonly counts: SubmissionCounts;
  readonly instanceKey: number;
  readonly maxTaskDataBytes: number;
  /** A task was stored with a lease: it is to be sent. */
  onLeased(session: HomeSession, spec: TaskSpec, route: LiveRoute, stored: InsertedTask): void;
  /** A task was stored that waits for a session. */
  onQueued(route: LiveRoute, rank: number, taskKey: number): void;
  /** A task was stored that waits for its time. */
  onScheduled(dueTimeMs: number): void;
  /** A task was stored that limits hold back for that long. */
  onParked(waitMs: number): void;
  /** A slot that was taken for a task that did not come to be. */
  onSlotUnused(session: HomeSession, route: LiveRoute): void;
}

/** The way in: checks a task, asks the limits, stores it, and only then says that it is accepted. */
export class Admission {
  readonly #parts: AdmissionParts;
  readonly #batcher: Batcher<Candidate, Accepted | Error>;
  /** Apart from the others, which never wait for a lock of a limit. */
  readonly #limited: Batcher<Candidate, Accepted | Error>;
  /** Tasks on their way into the database, so that no batch has the same id twice. */
  readonly #pending = new Map<string, AdmissionCallback[]>();
  closed = false;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
    const options = {
      maxItems: 500,
      maxBytes: 8 * 1024 * 1024,
      sizeOf: ({ bytes }: Candidate) => bytes.length + 100,
      run: (candidates: Candidate[]) => this.#store(candidates),
    };
    this.#batcher = new Batcher(options);
    this.#limited = new Batcher(options);
  }

  /** Tasks that are on their way into the database. */
  get pending(): number {
    return this.#batcher.size + this.#limited.size;
  }

  async drain(): Promise<void> {
    await Promise.all([this.#batcher.drain(), this.#limited.drain()]);
  }

  /**
   * Accepts a task, or tells why not.
   * @param waiter told of the task's end, also when it had ended before; forgotten if the task is not accepted.
   */
  submit(spec: TaskSpec, waiter: Waiter | undefined, told: AdmissionCallback): void {
    const callback = this.#parts.counts.counting(told);
    let name: string;
    try {
      if (this.closed) throw legionError("SHUTTING_DOWN", "This Dispatcher is going away; submit to another one.");
      this.#check(spec);
      name = taskName(spec.namespace, spec.taskId);
    } catch (error) {
      callback(error as Error);
      return;
    }
    const span = this.#trace(spec);
    const answer: AdmissionCallback = (error, accepted) => {
      if (error !== null) {
        span?.recordError(error);
        if (waiter !== undefined) this.#parts.waiters.remove(name, waiter);
      }
      span?.end();
      callback(error, accepted);
    };
    if (waiter !== undefined) this.#parts.waiters.add(name, waiter);
    const route = this.#parts.routes.known(spec);
    if (route !== undefined && this.#parts.lanes.isFree(spec) && !this.#parts.schemas.has(spec)) {
      this.#enqueue(spec, name, route, waiter, answer);
    } else {
      this.#prepare(spec).then(
        (prepared) => {
          const settled: AdmissionCallback = (error, accepted) => {
            if (accepted?.created === false) this.#parts.lanes.unused(prepared);
            answer(error, accepted);
          };
          this.#enqueue(spec, name, prepared.route, waiter, settled, prepared.lane);
        },
        (error: unknown) => answer(toStorageError(error)),
      );
    }
  }

  #check(spec: TaskSpec): void {
    if (!isPlainlyValid(spec)) validate(TaskSpecSchema, spec);
    const problem = checkTaskData(spec.taskData, this.#parts.maxTaskDataBytes);
    if (problem !== undefined) {
      const { reason, message } = problem;
      throw legionError(reason, message, { violations: [{ field: "task.task_data", description: message }] });
    }
    if (spec.namespace === "") spec.namespace = "default";
    if (spec.taskId === "") spec.taskId = randomUUIDv7();
  }

  /** Every task has a trace id, whether or not anybody records spans, so that there is one thing to look for in logs. */
  #trace(spec: TaskSpec): TaskSpan | undefined {
    const parent = { traceparent: spec.traceparent, tracestate: spec.tracestate };
    const span = startSpan(`submit ${spec.capability}`, {
      kind: SpanKind.SERVER,
      parent,
      attributes: taskAttributes(spec, "create", "submit"),
    });
    spec.traceparent = span.traceparent === "" ? newTraceparent() : span.traceparent;
    return span;
  }

  async #prepare(spec: TaskSpec): Promise<Admitted> {
    await this.#parts.schemas.check(spec);
    return this.#parts.lanes.admit(spec, await this.#parts.routes.of(spec));
  }

  #enqueue(
    spec: TaskSpec,
    name: string,
    route: LiveRoute,
    waiter: Waiter | undefined,
    answer: AdmissionCallback,
    lane?: LaneEntry,
  ): void {
    const others = this.#pending.get(name);
    if (others !== undefined) {
      // The same id is being stored this moment; whether it is the same task can be told when it is.
      others.push(() => this.#enqueue(spec, name, route, waiter, answer, lane));
      return;
    }
    this.#pending.set(name, []);
    const dueTimeMs = spec.runTime === undefined ? null : timestampMs(spec.runTime);
    const candidate: Candidate = {
      spec,
      name,
      bytes: toBinary(TaskSpecSchema, spec),
      route,
      dueTimeMs: dueTimeMs !== null && dueTimeMs > this.#parts.clock.now() ? dueTimeMs : null,
      waiter,
      lane,
      session: undefined,
    };
    (lane === undefined ? this.#batcher : this.#limited).push(candidate, (failure, result) => {
      const waiting = this.#pending.get(name);
      this.#pending.delete(name);
      if (failure !== null) answer(toStorageError(failure));
      else if (result instanceof Error) answer(result);
      else answer(null, result);
      for (const next of waiting ?? []) next(null);
    });
  }

  async #store(candidates: Candidate[]): Promise<(Accepted | Error)[]> {
    const { pool, log, segments, assigner, instanceKey } = this.#parts;
    const tasks: (NewTask & Pick<Candidate, "lane">)[] = candidates.map((candidate) => {
      if (candidate.dueTimeMs === null && candidate.lane?.parks !== true) {
        candidate.session = assigner.takeSlot(candidate.route);
      }
      return {
        namespace: candidate.spec.namespace,
        taskId: candidate.spec.taskId,
        capability: candidate.spec.capability,
        user: candidate.spec.user,
        spec: candidate.bytes,
        routeKey: candidate.route.routeKey,
        rank: -candidate.spec.priority,
        sessionKey: candidate.session?.sessionKey ?? null,
        dueTimeMs: candidate.dueTimeMs,
        lane: candidate.lane,
      };
    });
    let stored: (InsertedTask | undefined)[];
    try {
      stored = await segments.withCurrent((segment) => {
        const place = { segment, instanceKey };
        return isLimited(tasks) ? insertLimitedTasks(pool, tasks, place) : insertTasks(pool, tasks, place);
      });
    } catch (error) {
      for (const candidate of candidates) this.#giveBack(candidate);
      if (!isConnectionFailure(error)) log.error("tasks could not be stored", { err: error, tasks: candidates.length });
      // If only the answer was lost there are leases now that nobody here knows of; the rescuer returns them.
      throw error;
    }
    const taken = candidates.filter((_candidate, index) => stored[index] === undefined);
    for (const candidate of taken) this.#giveBack(candidate);
    const accepted = candidates.map((candidate, index) => {
      const task = stored[index];
      return task === undefined ? undefined : this.#accept(candidate, task);
    });
    if (taken.length === 0) return accepted as Accepted[];
    const before = await this.#compare(taken).catch(toStorageError);
    const compared = (name: string) => (before instanceof Error ? before : before.get(name)!);
    return candidates.map(({ name }, index) => accepted[index] ?? compared(name));
  }

  #giveBack(candidate: Candidate): void {
    if (candidate.session === undefined) return;
    this.#parts.onSlotUnused(candidate.session, candidate.route);
    candidate.session = undefined;
  }

  #accept(candidate: Candidate, stored: InsertedTask): Accepted {
    const { spec, name, route, session, dueTimeMs, waiter, lane } = candidate;
    if (waiter !== undefined) this.#parts.waiters.locate(name, stored.segment, stored.taskKey);
    let state: TaskState = TaskState.LEASED;
    if (isParked(stored)) {
      state = TaskState.QUEUED;
      this.#giveBack(candidate);
      this.#parts.onParked(lane?.waitMs ?? 0);
    } else if (session !== undefined) {
      this.#parts.onLeased(session, spec, route, stored);
    } else if (dueTimeMs !== null) {
      state = TaskState.SCHEDULED;
      this.#parts.onScheduled(dueTimeMs);
    } else {
      state = TaskState.QUEUED;
      this.#parts.onQueued(route, -spec.priority, stored.taskKey);
    }
    const { submitTimeMs } = stored;
    return { taskId: spec.taskId, state, created: true, submitTimeMs, traceparent: spec.traceparent };
  }

  /** For ids that were taken: the same task is accepted as it was, another one is a conflict. */
  async #compare(candidates: readonly Candidate[]): Promise<Map<string, Accepted | Error>> {
    const { pool, waiters } = this.#parts;
    const ids = candidates.map(({ spec }) => ({ namespace: spec.namespace, taskId: spec.taskId }));
    const rows = await findTasks(pool, ids);
    const byName = new Map(rows.map((row) => [taskName(row.namespace, row.task_id), row]));
    const answers = new Map<string, Accepted | Error>();
    for (const { spec, name, waiter } of candidates) {
      const row = byName.get(name);
      if (row === undefined) {
        const message = `The task '${spec.taskId}' was there a moment ago and is gone: its day of retention has ended. Submit it again.`;
        answers.set(name, legionError("TASK_NOT_FOUND", message));
        continue;
      }
      const answer = sameTask(spec, row);
      answers.set(name, answer);
      if (answer instanceof Error || waiter === undefined) continue;
      waiters.locate(name, row.segment, row.task_key);
      const end = endOf(row);
      // After the receipt, as always.
      if (end !== undefined) setImmediate(() => waiters.ended(name, end));
    }
    return answers;
  }
}
