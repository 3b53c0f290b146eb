import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { FailedSchema, OutcomeSchema } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import { TaskSchema, TaskState, type Task } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { maxAttempts } from "../core/after-attempt.ts";
import type { TaskRow } from "../sql/find-tasks.ts";
import { decodeSpec } from "./lease-book.ts";
import type { TaskEnd } from "./waiters.ts";

/** Where a stored task is in its life. */
export function stateOf(row: TaskRow): TaskState {
  if (row.state !== null) return row.state;
  if (row.lease_attempt !== null) return TaskState.LEASED;
  if (row.due_time !== null) return TaskState.SCHEDULED;
  return TaskState.QUEUED;
}

/** How a stored task ended, if it has. */
export function endOf(row: TaskRow): TaskEnd | undefined {
  if (row.state === null || row.outcome === null) return undefined;
  return { state: row.state, attempt: row.attempt ?? 0, outcome: fromBinary(OutcomeSchema, row.outcome) };
}

/** What a queue's row adds for a task that is in the queue. */
export interface QueuedPart {
  readonly attempts: number;
  readonly lastFailure: Buffer | null;
}

/** A stored task as clients see it. */
export function toTask(row: TaskRow, options: { payloads: boolean; queued?: QueuedPart | undefined }): Task {
  const spec = decodeSpec(row.spec);
  const task = create(TaskSchema, {
    namespace: row.namespace,
    taskId: row.task_id,
    capability: spec.capability,
    state: stateOf(row),
    attempt: row.attempt ?? row.lease_attempt ?? row.scheduled_attempts ?? options.queued?.attempts ?? 0,
    maxAttempts: maxAttempts(spec.retryPolicy),
    agentId: row.agent_id ?? "",
    sessionId: row.session_id ?? "",
    submitTime: timestampFromDate(row.submit_time),
    cancelRequested: row.cancel_reason !== null,
    priority: spec.priority,
    user: spec.user,
    labels: spec.labels,
    requiredLabels: spec.requiredLabels,
    traceparent: spec.traceparent,
  });
  const startTime = row.start_time ?? row.lease_start_time;
  if (startTime !== null) task.startTime = timestampFromDate(startTime);
  if (row.finish_time !== null) task.finishTime = timestampFromDate(row.finish_time);
  if (row.due_time !== null) task.runTime = timestampFromDate(row.due_time);
  if (spec.executionTimeout) task.executionTimeout = spec.executionTimeout;
  if (spec.retryPolicy) task.retryPolicy = spec.retryPolicy;
  const failure = row.scheduled_failure ?? options.queued?.lastFailure;
  if (failure != null) task.lastFailure = fromBinary(FailedSchema, failure);
  if (row.outcome !== null) task.outcome = fromBinary(OutcomeSchema, row.outcome);
  if (options.payloads && spec.taskData) task.taskData = spec.taskData;
  return task;
}
