import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
import type { Label } from "#libs/proto/legion/common/v1/label_pb.ts";
import type { Failed, Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Task, TaskEvent } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { TaskFailure } from "./errors.ts";
import type { JsonValue } from "./json.ts";
import { readPayload } from "./payload.ts";

export const taskStates = ["SCHEDULED", "QUEUED", "LEASED", "COMPLETED", "FAILED", "CANCELED", "DEAD"] as const;
export type TaskStateName = (typeof taskStates)[number];

/** `UNKNOWN` for a state that a newer mesh knows. */
export function stateName(state: TaskState): TaskStateName | "UNKNOWN" {
  return taskStates.find((name) => TaskState[name] === state) ?? "UNKNOWN";
}

/** How a finished task came out. One of the three. */
export interface OutcomeView {
  /** What the capability returned: JSON parsed, anything else as bytes. */
  readonly result?: JsonValue | Uint8Array | undefined;
  readonly failure?: TaskFailure;
  /** Why it was canceled; may be empty. */
  readonly canceled?: string;
}

/** A task, as it is now. */
export interface TaskView {
  readonly namespace: string;
  readonly taskId: string;
  readonly capability: string;
  readonly state: TaskStateName | "UNKNOWN";
  /** The current or last attempt, from 1. 0: none was begun. */
  readonly attempt: number;
  readonly maxAttempts: number;
  /** Why it waits, for people. Empty unless it waits. */
  readonly waitingReason: string;
  readonly outcome: OutcomeView | undefined;
  /** The failure of the last attempt, when it is tried again. */
  readonly lastFailure: TaskFailure | undefined;
  readonly agentId: string;
  readonly sessionId: string;
  readonly submitTime: Date | undefined;
  readonly runTime: Date | undefined;
  readonly startTime: Date | undefined;
  readonly finishTime: Date | undefined;
  readonly cancelRequested: boolean;
  /** Not filled by `listTasks`. */
  readonly taskData: JsonValue | Uint8Array | undefined;
  readonly priority: number;
  readonly user: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly requiredLabels: Readonly<Record<string, string>>;
  readonly executionTimeoutMs: number | undefined;
  /** W3C trace context of the task's root span. */
  readonly traceparent: string;
}

export function taskView(task: Task): TaskView {
  const { namespace, taskId, capability, attempt, maxAttempts, waitingReason, agentId, sessionId } = task;
  const { cancelRequested, priority, user, executionTimeout, traceparent } = task;
  return {
    namespace,
    taskId,
    capability,
    state: stateName(task.state),
    attempt,
    maxAttempts,
    waitingReason,
    outcome: outcomeView(task.outcome),
    lastFailure: task.lastFailure && failureView(task.lastFailure),
    agentId,
    sessionId,
    submitTime: date(task.submitTime),
    runTime: date(task.runTime),
    startTime: date(task.startTime),
    finishTime: date(task.finishTime),
    cancelRequested,
    taskData: readPayload(task.taskData),
    priority,
    user,
    labels: labelRecord(task.labels),
    requiredLabels: labelRecord(task.requiredLabels),
    executionTimeoutMs: executionTimeout && durationMs(executionTimeout),
    traceparent,
  };
}

/** Something that happened to a task. */
export interface TaskEventView {
  readonly time: Date | undefined;
  /** The task's state after it. */
  readonly state: TaskStateName | "UNKNOWN";
  readonly attempt: number;
  readonly agentId: string;
  readonly waitingReason: string;
  readonly progress: ProgressView | undefined;
  readonly lastFailure: TaskFailure | undefined;
  /** Only in the last event. */
  readonly outcome: OutcomeView | undefined;
}

/** News from the agent that runs a task. */
export interface ProgressView {
  /** How much is done, 0 to 1. */
  readonly fraction: number;
  readonly message: string;
  /** Partial output. */
  readonly output: JsonValue | Uint8Array | undefined;
}

export function taskEventView(event: TaskEvent): TaskEventView {
  const { progress, lastFailure } = event;
  return {
    time: date(event.time),
    state: stateName(event.state),
    attempt: event.attempt,
    agentId: event.agentId,
    waitingReason: event.waitingReason,
    progress: progress && {
      fraction: progress.fraction,
      message: progress.message,
      output: readPayload(progress.output),
    },
    lastFailure: lastFailure && failureView(lastFailure),
    outcome: outcomeView(event.outcome),
  };
}

function outcomeView(outcome: Outcome | undefined): OutcomeView | undefined {
  switch (outcome?.kind.case) {
    case "completed":
      return { result: readPayload(outcome.kind.value.result) };
    case "failed":
      return { failure: failureView(outcome.kind.value) };
    case "canceled":
      return { canceled: outcome.kind.value.reason };
    case undefined:
    default:
      return undefined;
  }
}

export function failureView({ code, message, retryable, details }: Failed): TaskFailure {
  return { code: code || "ERROR", message, retryable, details: readPayload(details) };
}

function labelRecord(labels: readonly Label[]): Record<string, string> {
  return Object.fromEntries(labels.map(({ key, value }) => [key, value]));
}

function date(timestamp: Timestamp | undefined): Date | undefined {
  return timestamp && timestampDate(timestamp);
}
