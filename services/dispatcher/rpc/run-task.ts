import type { RunTaskRequest } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { Task } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Admission } from "../engine/admission.ts";
import { taskName } from "../engine/session.ts";
import type { Accepted } from "../engine/same-task.ts";
import type { TaskReader } from "../engine/task-reader.ts";
import { endedTask } from "../engine/task-view.ts";
import type { TaskEnd, Waiter, Waiters } from "../engine/waiters.ts";

export async function runTask(
  { task }: RunTaskRequest,
  { admission, waiters, reader }: { admission: Admission; waiters: Waiters; reader: TaskReader },
  signal: AbortSignal,
): Promise<{ task: Task }> {
  const spec = task!;
  const end = Promise.withResolvers<TaskEnd>();
  const waiter: Waiter = { ended: end.resolve };
  const { created, submitTimeMs } = await new Promise<Accepted>((resolve, reject) => {
    admission.submit(spec, waiter, (error, receipt) => (error === null ? resolve(receipt!) : reject(error)));
  });
  const gone = (): void => end.reject(signal.reason as Error);
  signal.addEventListener("abort", gone, { once: true });
  try {
    if (signal.aborted) gone();
    const { execution, ...ended } = await end.promise;
    // Reading the task back would cost a statement for what is all known here.
    if (created && execution !== undefined) return { task: endedTask(spec, submitTimeMs, ended, execution) };
  } finally {
    signal.removeEventListener("abort", gone);
    waiters.remove(taskName(spec.namespace, spec.taskId), waiter);
  }
  const read = await reader.get(spec.namespace, spec.taskId);
  // With it and the result the answer may be larger than the 4 MiB that clients receive by default.
  delete read.taskData;
  return { task: read };
}
