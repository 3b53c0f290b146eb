import type { Assignment, CancelAttempt, OutcomeRejection } from "#libs/proto/legion/registry/v1/session_pb.ts";

export interface Parcel {
  assignments: Assignment[];
  cancels: CancelAttempt[];
  rejections: OutcomeRejection[];
}

/** 256 items or 1 MiB a frame: gRPC's default limit is 4 MiB, and one assignment of the largest size must still fit. */
export const frameItems = 256;
export const frameBytes = 1024 * 1024;
const maxRejections = 1000;

/** What waits to go down to one agent, in the order of its kinds. */
export class Outbox {
  #waiting: Parcel = empty();
  #bytes = 0;

  get length(): number {
    const { assignments, cancels, rejections } = this.#waiting;
    return assignments.length + cancels.length + rejections.length;
  }

  assign(assignments: Assignment[]): void {
    this.#bytes += total(assignments, assignmentBytes);
    this.#waiting.assignments = joined(this.#waiting.assignments, assignments);
  }

  cancel(cancels: CancelAttempt[]): void {
    this.#bytes += total(cancels, cancelBytes);
    this.#waiting.cancels = joined(this.#waiting.cancels, cancels);
  }

  /** Beyond 1,000 they are dropped: they are for information, and an agent that does not read gets none. */
  reject(rejections: OutcomeRejection[]): void {
    if (this.#waiting.rejections.length >= maxRejections) return;
    this.#bytes += total(rejections, rejectionBytes);
    this.#waiting.rejections = joined(this.#waiting.rejections, rejections);
  }

  /** The next frame's share: all of it, unless that is too much. */
  take(): Parcel {
    const all = this.#waiting;
    if (this.length <= frameItems && this.#bytes <= frameBytes) {
      this.clear();
      return all;
    }
    // Cancels and rejections first: they are small, and urgent.
    const cancels = all.cancels.splice(0, frameItems);
    const rejections = all.rejections.splice(0, frameItems - cancels.length);
    let bytes = total(cancels, cancelBytes) + total(rejections, rejectionBytes);
    let count = 0;
    let room = frameItems - cancels.length - rejections.length;
    for (const assignment of all.assignments) {
      const size = assignmentBytes(assignment);
      if (room === 0 || (bytes > 0 && bytes + size > frameBytes)) break;
      room--;
      count++;
      bytes += size;
    }
    this.#bytes -= bytes;
    return { assignments: all.assignments.splice(0, count), cancels, rejections };
  }

  dropAssignments(): void {
    this.#bytes -= total(this.#waiting.assignments, assignmentBytes);
    this.#waiting.assignments = [];
  }

  clear(): void {
    this.#waiting = empty();
    this.#bytes = 0;
  }
}

function empty(): Parcel {
  return { assignments: [], cancels: [], rejections: [] };
}

function joined<T>(waiting: T[], more: T[]): T[] {
  return waiting.length === 0 ? more : more.length === 0 ? waiting : waiting.concat(more);
}

function total<T>(items: readonly T[], sizeOf: (item: T) => number): number {
  let bytes = 0;
  for (const item of items) bytes += sizeOf(item);
  return bytes;
}

// Upper bounds rather than exact: a UTF-16 unit is at most 3 bytes, and 64 covers the small fields and the tags.
const cancelBytes = ({ taskId, reason }: CancelAttempt): number => 64 + 3 * (taskId.length + reason.length);
const rejectionBytes = ({ taskId, message }: OutcomeRejection): number => 64 + 3 * (taskId.length + message.length);

function assignmentBytes({ taskId, taskData, user, tracestate, labels }: Assignment): number {
  let bytes = 256 + 3 * (taskId.length + user.length) + tracestate.length + (taskData?.data.length ?? 0);
  for (const { key, value } of labels) bytes += 8 + key.length + 3 * value.length;
  return bytes;
}
