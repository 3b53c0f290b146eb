import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Clock } from "#libs/clock/clock.ts";
import type { WatchTaskRequest } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { TaskEventSchema, type Task, type TaskEvent } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { isFinal } from "../core/task-state.ts";
import { taskName } from "../engine/session.ts";
import type { TaskReader } from "../engine/task-reader.ts";
import type { TaskChange, Waiter, Waiters } from "../engine/waiters.ts";

// A watcher that reads slowly loses old progress, never a change of state.
const mostProgress = 1_000;
// What happens at other instances is seen by looking; also how long a stale waiting reason stands.
const lookEveryMs = 1_000;

export interface WatchParts {
  readonly reader: TaskReader;
  readonly waiters: Waiters;
  readonly clock: Clock;
}

export async function* watchTask(
  { namespace, taskId }: WatchTaskRequest,
  { reader, waiters, clock }: WatchParts,
  signal: AbortSignal,
): AsyncGenerator<{ event: TaskEvent }> {
  const name = taskName(namespace || "default", taskId);
  const news: TaskChange[] = [];
  let wake = Promise.withResolvers<void>();
  const waiter: Waiter = {
    ended: () => wake.resolve(),
    changed: (change) => {
      if (news.length >= mostProgress)
        news.splice(
          news.findIndex(({ progress }) => progress !== undefined),
          1,
        );
      news.push(change);
      wake.resolve();
    },
  };
  const stop = (): void => wake.resolve();
  signal.addEventListener("abort", stop, { once: true });
  using _interval = clock.setInterval(() => wake.resolve(), lookEveryMs);
  try {
    let told = "";
    while (!signal.aborted) {
      wake = Promise.withResolvers();
      // Before each look, so that what happens during it is not missed; ended waiters are forgotten by whoever told them.
      waiters.add(name, waiter);
      const task = await reader.get(namespace, taskId);
      const hasNews = news.length > 0;
      for (const change of news.splice(0)) {
        const event = toEvent(clock, change);
        told = summary(event);
        yield { event };
      }
      // What was read may be older than the news.
      if (hasNews && !isFinal(task.state)) continue;
      const now = toCurrent(clock, task);
      if (summary(now) !== told) yield { event: now };
      told = summary(now);
      if (isFinal(task.state)) return;
      if (news.length === 0) await wake.promise;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    waiters.remove(name, waiter);
  }
}

function toEvent(clock: Clock, { state, attempt, agentId, progress, lastFailure }: TaskChange): TaskEvent {
  const event = create(TaskEventSchema, { time: timestampFromMs(clock.now()), state, attempt, agentId });
  if (progress) event.progress = progress;
  if (lastFailure) event.lastFailure = lastFailure;
  return event;
}

function toCurrent(clock: Clock, task: Task): TaskEvent {
  const { state, attempt, agentId, waitingReason, finishTime, lastFailure, outcome } = task;
  const time = finishTime ?? timestampFromMs(clock.now());
  const event = create(TaskEventSchema, { time, state, attempt, agentId, waitingReason });
  if (lastFailure && !isFinal(state)) event.lastFailure = lastFailure;
  if (outcome) event.outcome = outcome;
  return event;
}

function summary({ state, attempt, agentId, waitingReason }: TaskEvent): string {
  // Who is ahead changes all the time and is no news.
  return `${state}/${attempt}/${agentId}/${waitingReason.split(";")[0]}`;
}
