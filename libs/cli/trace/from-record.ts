import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Task, TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { attribute } from "#libs/telemetry/attributes.ts";
import { outcomeText } from "../outcome-text.ts";
import type { TraceSpan } from "./trace-span.ts";

export interface RecordedTrace {
  /** What the task's record has times of. */
  readonly spans: readonly TraceSpan[];
  /** What it has none of. */
  readonly gaps: readonly string[];
}

/** A trace as far as the Dispatcher's record of a task has one: the task, its first wait, its last attempt. */
export function traceOfRecord(task: Task, nowMs: number): RecordedTrace {
  const { capability, state, attempt, submitTime, startTime, finishTime, outcome, lastFailure, agentId } = task;
  if (submitTime === undefined) return { spans: [], gaps: ["It has no times."] };
  const finalFailure = outcome !== undefined && outcome.kind.case !== "completed" ? outcomeText(outcome) : undefined;
  const endMs = finishTime === undefined ? nowMs : timestampMs(finishTime);
  const until = finishTime === undefined ? " (not over)" : "";
  const base = { name: `task ${capability}${until}`, failure: finalFailure };
  const spans = [spanOf({ ...base, spanId: "task", service: "", from: submitTime, endMs })];
  const gaps: string[] = [];
  const firstEndMs =
    attempt === 0 ? endMs : attempt === 1 && startTime !== undefined ? timestampMs(startTime) : undefined;
  if (firstEndMs !== undefined) {
    const name = `wait ${capability}${attempt === 0 ? until : ""}`;
    spans.push(spanOf({ spanId: "wait", parentId: "task", name, service: "", from: submitTime, endMs: firstEndMs }));
  }
  if (attempt > 1) {
    const why =
      lastFailure === undefined ? "" : ` The last failure was ${lastFailure.code || "ERROR"}: ${lastFailure.message}`;
    const which = attempt === 2 ? "attempt 1" : `attempts 1 to ${attempt - 1}`;
    gaps.push(`Of ${which} it keeps no times, nor of how long the task waited.${why}`);
  }
  // While a retry rests the record still has the start of the attempt that failed, but not its end.
  const isOver = finishTime !== undefined || state === TaskState.LEASED;
  if (startTime !== undefined && attempt > 0 && isOver) {
    const name = `execute ${capability}${until}`;
    const last = { spanId: "execute", parentId: "task", name, service: agentId, from: startTime, endMs, attempt };
    spans.push(spanOf({ ...last, failure: finalFailure }));
  } else if (startTime !== undefined && attempt > 0) {
    gaps.push(`Attempt ${attempt} is over; of its end it keeps no time.`);
  }
  return { spans, gaps };
}

interface Step {
  readonly spanId: string;
  readonly parentId?: string;
  readonly name: string;
  readonly service: string;
  readonly from: Timestamp;
  readonly endMs: number;
  readonly attempt?: number;
  readonly failure?: string | undefined;
}

function spanOf({ spanId, parentId, name, service, from, endMs, attempt, failure }: Step): TraceSpan {
  const startMs = timestampMs(from);
  return {
    spanId,
    parentId,
    name,
    service,
    startUs: startMs * 1_000,
    durationUs: Math.max(0, endMs - startMs) * 1_000,
    failed: failure !== undefined,
    failure: failure ?? "",
    attributes: attempt === undefined ? {} : { [attribute.attempt]: attempt },
  };
}
