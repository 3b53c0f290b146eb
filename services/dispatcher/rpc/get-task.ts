import type { GetTaskRequest } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { Task } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { TaskReader } from "../engine/task-reader.ts";

export async function getTask({ namespace, taskId }: GetTaskRequest, reader: TaskReader): Promise<{ task: Task }> {
  return { task: await reader.get(namespace, taskId) };
}
