import { ConnectError } from "@connectrpc/connect";
import { create } from "@bufbuild/protobuf";
import type { SubmitResult, SubmitTasksRequest } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { SubmitResultSchema } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { rpcStatusFromError } from "#libs/rpc/grpc-status.ts";
import type { Admission } from "../engine/admission.ts";
import type { Accepted } from "../engine/same-task.ts";
import type { Waiter } from "../engine/waiters.ts";
import { toReceipt } from "./submit-task.ts";

export async function submitTasks(
  { tasks }: SubmitTasksRequest,
  admission: Admission,
): Promise<{ results: SubmitResult[] }> {
  const results = tasks.map(
    (task) =>
      new Promise<SubmitResult>((resolve) => {
        submitOne(admission, { ref: 0n, task }, undefined, (_accepted, result) => resolve(result));
      }),
  );
  return { results: await Promise.all(results) };
}

/** Submits one task of several: an error is a result like any other. */
export function submitOne(
  admission: Admission,
  { ref, task }: { ref: bigint; task: TaskSpec },
  waiter: Waiter | undefined,
  done: (accepted: Accepted | undefined, result: SubmitResult) => void,
): void {
  admission.submit(task, waiter, (error, accepted) => {
    const result = create(SubmitResultSchema);
    result.ref = ref;
    result.kind =
      error === null
        ? { case: "accepted", value: toReceipt(accepted!) }
        : { case: "error", value: rpcStatusFromError(toAnswer(error)) };
    done(accepted, result);
  });
}

/** What was not made to be told stays inside. */
function toAnswer(error: Error): ConnectError {
  return error instanceof ConnectError
    ? error
    : legionError("INTERNAL", "The task could not be stored; the Dispatcher's log says why.");
}
