import { create } from "@bufbuild/protobuf";
import { type Outcome, OutcomeSchema } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";

export function completed(result: unknown): Outcome {
  return create(OutcomeSchema, {
    kind: { case: "completed", value: { result: { data: Buffer.from(JSON.stringify(result)) } } },
  });
}

export function failed(code: string, message: string, details?: unknown): Outcome {
  const payload = details === undefined ? {} : { details: { data: Buffer.from(JSON.stringify(details)) } };
  return create(OutcomeSchema, { kind: { case: "failed", value: { code, message, ...payload } } });
}

/** A task's input, parsed. */
export function dataOf(spec: TaskSpec): Record<string, unknown> {
  return JSON.parse(Buffer.from(spec.taskData?.data ?? []).toString()) as Record<string, unknown>;
}
