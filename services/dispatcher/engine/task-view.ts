import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromDate, timestampFromMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { FailedSchema, OutcomeSchema } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import { TaskSchema, TaskState, type Task, type TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { maxAttempts } from "../core/after-attempt.ts";
import type { TaskRow } from "../sql/find-tasks.ts";
import { decodeSpec } from "./lease-book.ts";
import type { Execution, TaskEnd } from "./waiters.ts";

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

/** A task that has just ended here as `toTask` shows it when it is read back, without its input. */
export function endedTask(spec: TaskSpec, submitTimeMs: number, end: TaskEnd, execution: Execution): Task {
  return create(TaskSchema, {
    ...specPart(spec),
    state: end.state,
    attempt: end.attempt,
    agentId: execution.agentId,
    sessionId: execution.sessionId,
    submitTime: toTimestamp(submitTimeMs),
    startTime: toTimestamp(execution.startTimeMs),
    finishTime: toTimestamp(execution.finishTimeMs),
    outcome: end.outcome,
  });
}

/** Reading a row drops what is less than a millisecond; so does this. */
const toTimestamp = (timeMs: number): Timestamp => timestampFromMs(Math.floor(timeMs));

function specPart(spec: TaskSpec) {
  return {
    namespace: spec.namespace,
    taskId: spec.taskId,
    capability: spec.capability,
    maxAttempts: maxAttempts(spec.retryPolicy),
    priority: spec.priority,
    user: spec.user,
    labels: spec.labels,
    requiredLabels: spec.requiredLabels,
    traceparent: spec.traceparent,
    ...(spec.executionTimeout && { executionTimeout: spec.executionTimeout }),
    ...(spec.retryPolicy && { retryPolicy: spec.retryPolicy }),
  };
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
    ...specPart(spec),
    state: stateOf(row),
    attempt: row.attempt ?? row.lease_attempt ?? row.scheduled_attempts ?? options.queued?.attempts ?? 0,
    agentId: row.agent_id ?? "",
    sessionId: row.session_id ?? "",
    submitTime: timestampFromDate(row.submit_time),
    cancelRequested: row.cancel_reason !== null,
  });
  const startTime = row.start_time ?? row.lease_start_time;
  if (startTime !== null) task.startTime = timestampFromDate(startTime);
  if (row.finish_time !== null) task.finishTime = timestampFromDate(row.finish_time);
  if (row.due_time !== null) task.runTime = timestampFromDate(row.due_time);
  const failure = row.scheduled_failure ?? options.queued?.lastFailure;
  if (failure != null) task.lastFailure = fromBinary(FailedSchema, failure);
  if (row.outcome !== null) task.outcome = fromBinary(OutcomeSchema, row.outcome);
  if (options.payloads && spec.taskData) task.taskData = spec.taskData;
  return task;
}
