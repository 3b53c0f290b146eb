import type { Failed, Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import type { TaskProgress, TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";

/** A task's end. */
export interface TaskEnd {
  readonly state: TaskState;
  readonly attempt: number;
  readonly outcome: Outcome;
  /** The last attempt as it was recorded; absent if that was not done here. */
  readonly execution?: Execution | undefined;
}

export interface Execution {
  readonly agentId: string;
  readonly sessionId: string;
  /** Milliseconds since the epoch, by Postgres's clock, as all times of a task. */
  readonly startTimeMs: number;
  readonly finishTimeMs: number;
}

/** A change in a task's life before its end. */
export interface TaskChange {
  readonly state: TaskState;
  readonly attempt: number;
  readonly agentId: string;
  readonly progress?: TaskProgress;
  readonly lastFailure?: Failed | undefined;
}

export interface Waiter {
  ended(end: TaskEnd): void;
  changed?(change: TaskChange): void;
}

interface Awaited {
  readonly waiters: Set<Waiter>;
  taskKey: number;
  segment: number;
}

/** Who waits here for which task. */
export class Waiters {
  readonly #tasks = new Map<string, Awaited>();
  readonly #names = new Map<number, string>();

  get size(): number {
    return this.#tasks.size;
  }

  add(taskName: string, waiter: Waiter): void {
    const awaited = this.#tasks.get(taskName);
    if (awaited === undefined) this.#tasks.set(taskName, { waiters: new Set([waiter]), taskKey: 0, segment: 0 });
    else awaited.waiters.add(waiter);
  }

  remove(taskName: string, waiter: Waiter): void {
    const awaited = this.#tasks.get(taskName);
    if (awaited === undefined) return;
    awaited.waiters.delete(waiter);
    if (awaited.waiters.size === 0) this.#forget(taskName, awaited);
  }

  /** Where the task is stored, so that its outcome can be looked up when another instance records it. */
  locate(taskName: string, segment: number, taskKey: number): void {
    const awaited = this.#tasks.get(taskName);
    if (awaited === undefined) return;
    awaited.segment = segment;
    awaited.taskKey = taskKey;
    this.#names.set(taskKey, taskName);
  }

  ended(taskName: string, end: TaskEnd): void {
    const awaited = this.#tasks.get(taskName);
    if (awaited === undefined) return;
    this.#forget(taskName, awaited);
    for (const waiter of awaited.waiters) waiter.ended(end);
  }

  /** Whether somebody wants to know of changes; ask before building one. */
  isAwaited(taskName: string): boolean {
    return this.#tasks.has(taskName);
  }

  changed(taskName: string, change: TaskChange): void {
    const awaited = this.#tasks.get(taskName);
    if (awaited === undefined) return;
    for (const waiter of awaited.waiters) waiter.changed?.(change);
  }

  /** The stored tasks that are waited for, as a list to go through. */
  located(): { taskName: string; segment: number; taskKey: number }[] {
    const list = [];
    for (const [name, { segment, taskKey }] of this.#tasks) {
      if (taskKey > 0) list.push({ taskName: name, segment, taskKey });
    }
    return list;
  }

  /** An awaited task by its key. */
  byKey(taskKey: number): { taskName: string; segment: number; taskKey: number } | undefined {
    const taskName = this.#names.get(taskKey);
    const awaited = taskName === undefined ? undefined : this.#tasks.get(taskName);
    return awaited && { taskName: taskName!, segment: awaited.segment, taskKey };
  }

  #forget(taskName: string, awaited: Awaited): void {
    this.#tasks.delete(taskName);
    this.#names.delete(awaited.taskKey);
  }
}
