import type { Notifier } from "#libs/db/notifier.ts";
import { isBefore, type Place } from "../core/watermark.ts";
import type { Instance } from "./instance.ts";

const queuedChannel = "legion_dispatcher_queued";
const endedChannel = "legion_dispatcher_ended";
const cancelsChannel = "legion_dispatcher_cancels";
// 8 KB is what Postgres takes; a key has at most 16 digits.
const keysInAHint = 400;

export interface HintHandlers {
  /** Somebody else put tasks into a route's queue, here and perhaps behind it. Undefined: look at all of them. */
  queued(news: { readonly routeKey: number; readonly place: Place } | undefined): void;
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
  /** The first place where something was put in, by route. */
  readonly #queued = new Map<number, Place>();
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
      const [from, routeKey, rank, taskKey] = payload.split(":");
      if (from === own) return;
      handlers.queued({ routeKey: Number(routeKey), place: { rank: Number(rank), taskKey: Number(taskKey) } });
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

  queued(routeKey: number, place: Place): void {
    if (this.#instance.isAlone) return;
    const first = this.#queued.get(routeKey);
    if (first === undefined || isBefore(place, first)) this.#queued.set(routeKey, place);
    this.#schedule();
  }

  /** @param submitter the instance whose client may wait. */
  ended(submitter: number, taskKey: number): void {
    if (submitter === this.#instance.instanceKey || this.#instance.isAlone) return;
    const keys = this.#ended.get(submitter);
    if (keys === undefined) this.#ended.set(submitter, [taskKey]);
    else keys.push(taskKey);
    this.#schedule();
  }

  cancels(instanceKey: number): void {
    this.#hint(cancelsChannel, String(instanceKey));
  }

  #hint(channel: string, payload: string): void {
    if (!this.#stopped.aborted) this.#notifier.hint(channel, payload);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    for (const [routeKey, { rank, taskKey }] of this.#queued) {
      this.#hint(queuedChannel, `${this.#instance.instanceKey}:${routeKey}:${rank}:${taskKey}`);
    }
    this.#queued.clear();
    for (const [submitter, keys] of this.#ended) {
      for (let start = 0; start < keys.length; start += keysInAHint) {
        this.#hint(endedChannel, `${submitter}:${keys.slice(start, start + keysInAHint).join(",")}`);
      }
    }
    this.#ended.clear();
  }
}
