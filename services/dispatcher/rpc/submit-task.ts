import { create } from "@bufbuild/protobuf";
import type { SubmitTaskRequest, SubmitTaskResponse } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { SubmitTaskResponseSchema } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { Admission } from "../engine/admission.ts";
import type { Accepted } from "../engine/same-task.ts";

export function submitTask({ task }: SubmitTaskRequest, admission: Admission): Promise<SubmitTaskResponse> {
  return new Promise((resolve, reject) => {
    admission.submit(task!, undefined, (error, accepted) => {
      if (error === null) resolve(toReceipt(accepted!));
      else reject(error);
    });
  });
}

export function toReceipt({ taskId, state, created, traceparent }: Accepted): SubmitTaskResponse {
  const receipt = create(SubmitTaskResponseSchema);
  receipt.taskId = taskId;
  receipt.state = state;
  receipt.created = created;
  receipt.traceparent = traceparent;
  return receipt;
}
