import type { CancelTaskRequest } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Cancellation } from "../engine/cancellation.ts";

export async function cancelTask(
  { namespace, taskId, reason }: CancelTaskRequest,
  cancellation: Cancellation,
): Promise<{ state: TaskState }> {
  return { state: await cancellation.cancel(namespace, taskId, reason) };
}
