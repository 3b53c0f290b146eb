import { systemClock } from "#libs/clock/clock.ts";
import type { StreamOutcome, SubmitTaskResponse } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { LegionError } from "./errors.ts";

export interface WaitOptions {
  /** How long to wait for the answer, through all trouble of the mesh, in milliseconds. Default: for ever. The task itself goes on. */
  readonly timeoutMs?: number | undefined;
  /** Aborting it ends the waiting, not the task. */
  readonly signal?: AbortSignal | undefined;
}

interface Pending {
  readonly spec: TaskSpec;
  ref: number;
  settled: boolean;
  trouble: LegionError | undefined;
  stopWaiting: (() => void) | undefined;
  readonly reject: (error: unknown) => void;
}

interface PendingReceipt extends Pending {
  readonly wants: "receipt";
  readonly resolve: (receipt: SubmitTaskResponse) => void;
}

interface PendingOutcome extends Pending {
  readonly wants: "outcome";
  readonly resolve: (outcome: StreamOutcome) => void;
}

/** One task that somebody waits for. */
export type PendingTask = PendingReceipt | PendingOutcome;

export function newPending(spec: TaskSpec, reject: (error: unknown) => void): Pending {
  return { spec, ref: 0, settled: false, trouble: undefined, stopWaiting: undefined, reject };
}

/** Calls `giveUp`, which may be more than once, when the caller will wait no longer. */
export function limitWait(task: Pending, { timeoutMs, signal }: WaitOptions, giveUp: () => void): void {
  const timer = timeoutMs === undefined ? undefined : systemClock.setTimer(giveUp, timeoutMs);
  signal?.addEventListener("abort", giveUp, { once: true });
  task.stopWaiting = () => {
    timer?.[Symbol.dispose]();
    signal?.removeEventListener("abort", giveUp);
  };
}
