import { create } from "@bufbuild/protobuf";
import { Batcher } from "#libs/db/batcher.ts";
import { isConnectionFailure, retryWhileDisconnected } from "#libs/db/connection-failure.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { OutcomeSchema, type Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import type { SessionUpdate } from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import { TaskProgressSchema, TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { AttemptOutcome, AttemptProgress } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { CancelCause } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Matcher } from "../core/matcher.ts";
import { decideFailure, decideOutcome, failed, timedOut } from "../core/outcomes.ts";
import { findOutcomes, findTasks, type TaskRow } from "../sql/find-tasks.ts";
import type { Ending } from "./ending.ts";
import type { Finisher } from "./finisher.ts";
import { decodeSpec, type LeaseBook } from "./lease-book.ts";
import { noteOf, restFor } from "./attempt-note.ts";
import type { RouteTable } from "./route-table.ts";
import type { Samples } from "./samples.ts";
import { taskName, type HomeSession, type Lease } from "./session.ts";
import type { Waiters } from "./waiters.ts";

const largestProgressOutput = 64 * 1024;
const longestProgressMessage = 1024;

export interface AgentFrameParts {
  readonly pool: ConnectionPool;
  readonly matcher: Matcher<HomeSession>;
  readonly leases: LeaseBook;
  readonly finisher: Finisher;
  readonly waiters: Waiters;
  readonly samples: Samples;
  readonly routes: RouteTable;
  readonly log: Logger;
  readonly maxResultBytes: number;
  readonly signal: AbortSignal;
  onReady(session: HomeSession): void;
  /** Resolves when the pauses that were stored hold. */
  whenPaused(): Promise<void>;
}

/** What agents say about their attempts, and what follows from it. */
export class AgentFrames {
  readonly #parts: AgentFrameParts;
  readonly #lookups: Batcher<{ namespace: string; taskId: string }, TaskRow | undefined>;

  constructor(parts: AgentFrameParts) {
    this.#parts = parts;
    this.#lookups = new Batcher({ run: (ids) => this.#findTasks(ids) });
    parts.leases.onTimeout = (lease) => this.#timedOut(lease);
  }

  update(session: HomeSession, { slots, weight }: SessionUpdate): void {
    session.slots = slots;
    session.weight = weight;
    this.#parts.matcher.changed(session);
    if (slots > 0) this.#parts.onReady(session);
  }

  progress(session: HomeSession, news: AttemptProgress): void {
    const lease = session.leases.get(news.taskId);
    if (lease === undefined || lease.attempt !== news.attempt || !this.#parts.waiters.isAwaited(lease.taskName)) return;
    const progress = create(TaskProgressSchema, {
      fraction: Number.isNaN(news.fraction) ? 0 : Math.min(1, Math.max(0, news.fraction)),
      message: news.message.slice(0, longestProgressMessage),
    });
    if (news.output && news.output.data.length <= largestProgressOutput) progress.output = news.output;
    const change = { state: TaskState.LEASED, attempt: lease.attempt, agentId: session.agentId, progress };
    this.#parts.waiters.changed(lease.taskName, change);
  }

  /** @param done called when the outcome is recorded or rejected. */
  outcome(session: HomeSession, answer: AttemptOutcome, done: () => void): void {
    const lease = session.leases.get(answer.taskId);
    if (lease === undefined || lease.attempt !== answer.attempt) {
      if (this.#parts.leases.closeOverdue(session, answer.taskId, answer.attempt)) done();
      else void this.#whenAnswered(this.#answerUnknown(session, answer), done);
      return;
    }
    const outcome = this.#acceptable(answer.outcome);
    const decision = restFor(decideOutcome(lease, outcome, Math.random()), answer);
    const note = noteOf(answer);
    // The slot of an attempt that asks for a pause is free when the pause holds, lest the next of its limit slips in.
    const pauses = note !== undefined && note.pauseMs > 0;
    if (pauses) this.#parts.leases.moveToOverdue(lease);
    else this.#parts.leases.close(lease);
    this.#parts.samples.add(lease, answer);
    const settled = (held: boolean): void => {
      if (pauses) void this.#closeWhenPaused(session, answer);
      if (held) done();
      else void this.#whenAnswered(this.#answerLate(session, lease, answer), done);
    };
    this.#parts.finisher.finish(lease, decision, settled, note);
  }

  async #closeWhenPaused(session: HomeSession, { taskId, attempt }: AttemptOutcome): Promise<void> {
    await this.#parts.whenPaused();
    this.#parts.leases.closeOverdue(session, taskId, attempt);
  }

  /** Tells an agent to stop an attempt, because somebody asked for that. */
  cancel(lease: Lease, reason: string): void {
    if (lease.cancelReason !== undefined) return;
    lease.cancelReason = reason;
    const { session, taskId, attempt } = lease;
    session.outlet.cancel(session, { taskId, attempt, cause: CancelCause.REQUESTED, reason });
  }

  #timedOut(lease: Lease): void {
    const { session, taskId, attempt } = lease;
    this.#parts.leases.moveToOverdue(lease);
    const failure = timedOut(lease.executionTimeoutMs ?? 0);
    this.#parts.finisher.finish(lease, decideFailure(lease, failure, Math.random()));
    this.#parts.samples.addTimeout(lease);
    session.outlet.cancel(session, { taskId, attempt, cause: CancelCause.TIMEOUT, reason: failure.message });
  }

  #acceptable(outcome: Outcome | undefined): Outcome {
    const kind = outcome?.kind ?? { case: undefined };
    const bytes =
      kind.case === "completed"
        ? (kind.value.result?.data.length ?? 0)
        : kind.case === "failed"
          ? (kind.value.details?.data.length ?? 0)
          : 0;
    const { maxResultBytes } = this.#parts;
    if (outcome !== undefined && bytes <= maxResultBytes) return outcome;
    const failure =
      bytes > maxResultBytes
        ? failed(
            "RESULT_TOO_LARGE",
            `The result is ${bytes} bytes; at most ${maxResultBytes} are kept (MAX_RESULT_BYTES).`,
            false,
          )
        : failed("INVALID_OUTCOME", "The agent answered without an outcome.", false);
    return create(OutcomeSchema, { kind: { case: "failed", value: failure } });
  }

  #reject(session: HomeSession, { taskId, attempt }: AttemptOutcome): void {
    const message = `Attempt ${attempt} at the task '${taskId}' is not this session's.`;
    session.outlet.reject(session, { taskId, attempt, reason: "LEASE_LOST", message });
  }

  /** What cannot be looked up while Postgres is away is not dealt with: whoever sent it sends it again. */
  async #whenAnswered(answered: Promise<void>, done: () => void): Promise<void> {
    try {
      await answered;
    } catch (err) {
      if (isConnectionFailure(err)) return;
      this.#parts.log.error("an outcome could not be looked up", { err });
    }
    done();
  }

  /**
   * The attempt is not in the book: it was recorded before and is sent again, because the acknowledgement was lost, or it is
   * not the session's. The fence decides, after whatever is being recorded now.
   */
  async #answerUnknown(session: HomeSession, answer: AttemptOutcome): Promise<void> {
    const row = await this.#lookups.add({ namespace: session.namespace, taskId: answer.taskId });
    if (row === undefined) return this.#reject(session, answer);
    const spec = decodeSpec(row.spec);
    const ending: Ending = {
      taskKey: row.task_key,
      segment: row.segment,
      attempt: answer.attempt,
      session,
      route: await this.#parts.routes.of(spec),
      rank: -spec.priority,
      taskName: taskName(spec.namespace, spec.taskId),
      // Not known; whoever waits elsewhere looks by itself.
      submitter: 0,
    };
    const facts = {
      attempt: answer.attempt,
      retryPolicy: spec.retryPolicy,
      cancelReason: row.cancel_reason ?? undefined,
    };
    const decision = restFor(decideOutcome(facts, this.#acceptable(answer.outcome), Math.random()), answer);
    const held = await new Promise<boolean>((resolve) => {
      this.#parts.finisher.finish(ending, decision, resolve, noteOf(answer));
    });
    if (!held) await this.#answerLate(session, ending, answer);
  }

  async #findTasks(ids: { namespace: string; taskId: string }[]): Promise<(TaskRow | undefined)[]> {
    const { pool, signal } = this.#parts;
    const rows = await retryWhileDisconnected(() => findTasks(pool, ids), { signal });
    const byName = new Map(rows.map((row) => [taskName(row.namespace, row.task_id), row]));
    return ids.map(({ namespace, taskId }) => byName.get(taskName(namespace, taskId)));
  }

  /** The lease was gone: recorded before, by a statement whose answer was lost, or truly lost. */
  async #answerLate(session: HomeSession, lease: Ending, answer: AttemptOutcome): Promise<void> {
    const { pool, signal } = this.#parts;
    const [row] = await retryWhileDisconnected(() => findOutcomes(pool, [lease]), { signal });
    if (row?.attempt === lease.attempt && row.session_key === session.sessionKey) return;
    if (session.open) this.#reject(session, answer);
  }
}
