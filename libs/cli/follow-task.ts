import { watchTask } from "#libs/client/watch-task.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { TaskEvent } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Mesh } from "./mesh.ts";
import type { StatusLine } from "./status-line.ts";
import { oneLine } from "./terminal.ts";

// What is done by then needs no words.
const quietMs = 500;

export interface Follower {
  /** Something else to say about the waiting. */
  tell(text: string): void;
  stop(): void;
}

/** Tells, while a task is waited for, what it waits for and how far it is. */
export function followTask(
  mesh: Mesh,
  task: { namespace: string; taskId: string; capability: string },
  status: StatusLine,
): Follower {
  const stop = new AbortController();
  const follow = async (): Promise<void> => {
    for await (const event of watchTask(mesh.endpoints, task, { signal: stop.signal, untilKnown: true })) {
      const text = describeEvent(event, task.capability);
      if (text !== "" && !stop.signal.aborted) status.update(text);
    }
  };
  // The outcome comes by another way; if this one is refused there is less to read, and no harm.
  const timer = setTimeout(() => void follow().catch(() => {}), quietMs);
  return {
    tell: (text) => status.update(text),
    stop() {
      clearTimeout(timer);
      stop.abort();
    },
  };
}

/** What a task is doing, in a few words; empty for its outcome. */
export function describeEvent(event: TaskEvent, capability: string): string {
  const { state, attempt, agentId, waitingReason, progress, lastFailure } = event;
  if (progress !== undefined) {
    const message = oneLine(progress.message);
    return `${Math.floor(progress.fraction * 100)} %${message === "" ? "" : `  ${message}`}`;
  }
  const waits = oneLine(waitingReason);
  if (state === TaskState.SCHEDULED) {
    if (lastFailure === undefined) return waits || "waiting for its time";
    return `attempt ${attempt} failed (${oneLine(`${lastFailure.code}: ${lastFailure.message}`)}): will be tried again`;
  }
  if (state === TaskState.QUEUED) return `${waits || `waiting for an agent that offers '${capability}'`}: queued`;
  if (state !== TaskState.LEASED) return "";
  return `running on ${oneLine(agentId)}${attempt > 1 ? `, attempt ${attempt}` : ""}`;
}
