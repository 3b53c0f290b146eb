import { clone, equals } from "@bufbuild/protobuf";
import { TaskSpecSchema, type TaskSpec, type TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { TaskRow } from "../sql/find-tasks.ts";
import { decodeSpec } from "./lease-book.ts";
import { stateOf } from "./task-view.ts";

export interface Accepted {
  readonly taskId: string;
  readonly state: TaskState;
  /** False if the same task was there before. */
  readonly created: boolean;
  /** Milliseconds since the epoch, by Postgres's clock. */
  readonly submitTimeMs: number;
  readonly traceparent: string;
}

/** Whether a task whose id was taken is the one that took it: then it is accepted as it was; else it is a conflict. */
export function sameTask(spec: TaskSpec, row: TaskRow): Accepted | Error {
  const before = decodeSpec(row.spec);
  const { traceparent } = before;
  if (equals(TaskSpecSchema, contentOf(before), contentOf(spec))) {
    return {
      taskId: spec.taskId,
      state: stateOf(row),
      created: false,
      submitTimeMs: row.submit_time.getTime(),
      traceparent,
    };
  }
  return legionError(
    "TASK_ID_CONFLICT",
    `A task '${spec.taskId}' with other content was accepted before; use another task_id, or the same content.`,
    { metadata: { task_id: spec.taskId, namespace: spec.namespace } },
  );
}

function contentOf(spec: TaskSpec): TaskSpec {
  const content = clone(TaskSpecSchema, spec);
  content.traceparent = "";
  content.tracestate = "";
  return content;
}
