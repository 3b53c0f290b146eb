import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";

export const unspecified = TaskState.UNSPECIFIED;

export function isFinal(state: TaskState): boolean {
  return (
    state === TaskState.COMPLETED ||
    state === TaskState.FAILED ||
    state === TaskState.CANCELED ||
    state === TaskState.DEAD
  );
}

/** Its name as the contract has it, without the prefix. */
export function stateName(state: TaskState): string {
  return names.get(state) ?? String(state);
}

const names = new Map<number, string>(Object.entries(TaskState).map(([name, value]) => [value, name]));
