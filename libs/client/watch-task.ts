import { backoffDelayMs } from "#libs/clock/backoff.ts";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import type { TaskEvent } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Endpoints } from "./endpoints.ts";
import { connectionError, isTransient } from "./errors.ts";
import type { LegionError } from "./errors.ts";

export interface WatchOptions {
  /** Aborting it ends the watching without an error. */
  readonly signal?: AbortSignal | undefined;
  /** A task that is not found is waited for: it is being handed over. Default false. */
  readonly untilKnown?: boolean;
  readonly onTrouble?: ((error: LegionError) => void) | undefined;
}

const backoff = { initialMs: 200, maxMs: 2_000 };

/**
 * A task's events, its outcome the last. A broken connection is made again; then the task's state is told once more.
 * @throws LegionError when the mesh refuses, such as NOT_FOUND
 */
export async function* watchTask(
  endpoints: Endpoints,
  task: { namespace: string; taskId: string },
  { signal, untilKnown = false, onTrouble }: WatchOptions = {},
): AsyncGenerator<TaskEvent, void> {
  const stopped = (): boolean => signal?.aborted === true;
  for (let failures = 0; !stopped();) {
    const { channel, client } = endpoints;
    try {
      for await (const { event } of client.watchTask(task, signal === undefined ? {} : { signal })) {
        failures = 0;
        if (event === undefined) continue;
        yield event;
        if (event.outcome !== undefined) return;
      }
    } catch (thrown) {
      if (stopped()) return;
      const error = connectionError(thrown, channel.target);
      if (isTransient(error)) {
        endpoints.failed(channel);
        onTrouble?.(error);
      } else if (!(untilKnown && error.code === "NOT_FOUND")) throw error;
    }
    await sleep(systemClock, backoffDelayMs(++failures, backoff), signal);
  }
}
