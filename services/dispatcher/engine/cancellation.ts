import { toBinary } from "@bufbuild/protobuf";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { OutcomeSchema } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { canceledOutcome } from "../core/outcomes.ts";
import { isFinal } from "../core/task-state.ts";
import { cancelLeased, cancelsRequested, cancelWaiting } from "../sql/cancel-task.ts";
import type { AgentFrames } from "./agent-frames.ts";
import type { Hints } from "./hints.ts";
import type { Instance } from "./instance.ts";
import { decodeSpec, type LeaseBook } from "./lease-book.ts";
import type { RouteTable } from "./route-table.ts";
import { taskName } from "./session.ts";
import type { TaskReader } from "./task-reader.ts";
import { stateOf } from "./task-view.ts";
import type { Waiters } from "./waiters.ts";

export interface CancellationParts {
  readonly pool: ConnectionPool;
  readonly reader: TaskReader;
  readonly routes: RouteTable;
  readonly leases: LeaseBook;
  readonly frames: AgentFrames;
  readonly waiters: Waiters;
  readonly hints: Hints;
  readonly instance: Instance;
  /** Gates of concurrency limits got slots back that somebody waits for. */
  onSlotsFreed(gateKeys: number[]): void;
}

/** Stops tasks on request, wherever they are. */
export class Cancellation {
  readonly #parts: CancellationParts;

  constructor(parts: CancellationParts) {
    this.#parts = parts;
  }

  /** @returns the task's state afterwards. */
  async cancel(namespace: string, taskId: string, reason: string): Promise<TaskState> {
    const { pool, reader, routes, waiters } = this.#parts;
    const why = reason === "" ? "canceled on request" : reason;
    const outcome = canceledOutcome(why);
    // A task may go from the queue to an agent, or back, between two looks; it does not do so for ever.
    for (;;) {
      const row = await reader.find(namespace, taskId);
      const state = stateOf(row);
      if (isFinal(state)) return state;
      const spec = decodeSpec(row.spec);
      if (state === TaskState.LEASED) {
        const home = await cancelLeased(pool, row.task_key, why);
        if (home === undefined) continue;
        this.#tellHome(home, row.task_key, why);
        return TaskState.LEASED;
      }
      const { routeKey } = await routes.of(spec);
      const place = { taskKey: row.task_key, segment: row.segment, routeKey, rank: -spec.priority };
      const canceled = await cancelWaiting(pool, place, toBinary(OutcomeSchema, outcome));
      if (canceled === undefined) continue;
      waiters.ended(taskName(spec.namespace, spec.taskId), {
        state: TaskState.CANCELED,
        attempt: canceled.attempts,
        outcome,
      });
      this.#parts.hints.ended(canceled.submitter, row.task_key);
      this.#parts.onSlotsFreed(canceled.gates);
      return TaskState.CANCELED;
    }
  }

  /** Tells the agents of this instance's sessions what was asked of other instances. */
  async tick(): Promise<void> {
    const { pool, leases, frames, instance } = this.#parts;
    for (const row of await cancelsRequested(pool, instance.instanceKey)) {
      const lease = leases.byKey(row.task_key);
      if (lease !== undefined) frames.cancel(lease, row.cancel_reason);
    }
  }

  #tellHome(home: number, taskKey: number, reason: string): void {
    const { instance, leases, frames, hints } = this.#parts;
    if (home !== instance.instanceKey) return hints.cancels(home);
    const lease = leases.byKey(taskKey);
    if (lease !== undefined) frames.cancel(lease, reason);
  }
}
