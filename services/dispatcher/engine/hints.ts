import type { Notifier } from "#libs/db/notifier.ts";
import type { Instance } from "./instance.ts";

const queuedChannel = "legion_dispatcher_queued";
const endedChannel = "legion_dispatcher_ended";
const cancelsChannel = "legion_dispatcher_cancels";
// 8 KB is what Postgres takes; a key has at most 16 digits.
const keysInAHint = 400;

export interface HintHandlers {
  /** Somebody else put a task into this route's queue. Undefined: look at all of them. */
  queued(routeKey: number | undefined): void;
  /** These tasks, for which a client of this instance may wait, have ended. Undefined: some may have. */
  ended(taskKeys: number[] | undefined): void;
  /** Somebody asked for tasks to be canceled that sessions of this instance hold. */
  cancels(): void;
}

/** What the replicas tell each other, over Postgres. Only hints: each of them polls too, more seldom. */
export class Hints {
  readonly #notifier: Notifier;
  readonly #instance: Instance;
  readonly #stopped: AbortSignal;
  readonly #ended = new Map<number, number[]>();
  #scheduled = false;

  /** @param stopped from then on nothing is told to anybody: the notifier may be gone. */
  constructor(notifier: Notifier, instance: Instance, stopped: AbortSignal) {
    this.#notifier = notifier;
    this.#instance = instance;
    this.#stopped = stopped;
  }

  async listen(handlers: HintHandlers): Promise<void> {
    const own = String(this.#instance.instanceKey);
    await this.#notifier.listen(queuedChannel, (payload) => {
      if (payload === null) return handlers.queued(undefined);
      const [from, routeKey] = payload.split(":");
      if (from !== own) handlers.queued(Number(routeKey));
    });
    await this.#notifier.listen(endedChannel, (payload) => {
      if (payload === null) return handlers.ended(undefined);
      const [to, keys] = payload.split(":");
      if (to === own) handlers.ended(keys!.split(",").map(Number));
    });
    await this.#notifier.listen(cancelsChannel, (payload) => {
      if (payload === null || payload === own) handlers.cancels();
    });
  }

  queued(routeKey: number): void {
    if (!this.#instance.isAlone) this.#hint(queuedChannel, `${this.#instance.instanceKey}:${routeKey}`);
  }

  /** @param submitter the instance whose client may wait. */
  ended(submitter: number, taskKey: number): void {
    if (submitter === this.#instance.instanceKey || this.#instance.isAlone) return;
    const keys = this.#ended.get(submitter);
    if (keys === undefined) this.#ended.set(submitter, [taskKey]);
    else keys.push(taskKey);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  cancels(instanceKey: number): void {
    this.#hint(cancelsChannel, String(instanceKey));
  }

  #hint(channel: string, payload: string): void {
    if (!this.#stopped.aborted) this.#notifier.hint(channel, payload);
  }

  #flush(): void {
    this.#scheduled = false;
    for (const [submitter, keys] of this.#ended) {
      for (let start = 0; start < keys.length; start += keysInAHint) {
        this.#hint(endedChannel, `${submitter}:${keys.slice(start, start + keysInAHint).join(",")}`);
      }
    }
    this.#ended.clear();
  }
}
