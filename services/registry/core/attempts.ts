import type { AttemptRef, CancelAttempt } from "#libs/proto/legion/registry/v1/session_pb.ts";

export type Ref = Pick<AttemptRef, "taskId" | "attempt">;

/** Not yet in any frame. Larger than every number, so that "received" is one comparison. */
const undelivered = Number.POSITIVE_INFINITY;
/** The agent named it itself when it said hello, so it has it. */
const named = 0;

/** One attempt that a session was given and whose outcome is not yet recorded. */
export interface Attempt extends Ref {
  /** The frame of the present stream it went out in; see `undelivered` and `named`. */
  seq: number;
  /** Its outcome has arrived and waits to be recorded. */
  answered: boolean;
  /** What the agent was asked to stop; it is asked again when the session is resumed. */
  cancel: CancelAttempt | undefined;
}

/** What one session holds. */
export class Attempts {
  readonly #byKey = new Map<string, Attempt>();
  #unanswered = 0;

  get size(): number {
    return this.#byKey.size;
  }

  /** Those that occupy a slot. */
  get unanswered(): number {
    return this.#unanswered;
  }

  /** False if the session holds it already. */
  assign(ref: Ref): boolean {
    return this.#add(ref, undelivered);
  }

  find(ref: Ref): Attempt | undefined {
    return this.#byKey.get(keyOf(ref));
  }

  delivered(ref: Ref, seq: number): void {
    const attempt = this.find(ref);
    if (attempt !== undefined) attempt.seq = seq;
  }

  answer(attempt: Attempt): void {
    attempt.answered = true;
    this.#unanswered--;
  }

  /** Its outcome is recorded, or rejected. */
  settle(attempt: Attempt): void {
    if (this.#byKey.delete(keyOf(attempt)) && !attempt.answered) this.#unanswered--;
  }

  /** All that the session holds, as the Dispatcher is told when it becomes its home. */
  refs(): Ref[] {
    return Array.from(this.#byKey.values(), toRef);
  }

  /** What the agent has acknowledged and not answered: it may have begun. */
  received(acknowledgedSeq: number): Ref[] {
    return [...this.#byKey.values()].filter((held) => !held.answered && held.seq <= acknowledgedSeq).map(toRef);
  }

  /** What must be stopped, for a new stream of the same session. */
  cancels(): CancelAttempt[] {
    return [...this.#byKey.values()].flatMap(({ answered, cancel }) => (answered || !cancel ? [] : [cancel]));
  }

  /**
   * The agent is back on a new stream and holds what it names. What it does not name it never received, unless it has
   * answered it.
   * @returns what it names that is not the session's.
   */
  reconcile(refs: readonly Ref[]): Ref[] {
    const lost: Ref[] = [];
    const keys = new Set<string>();
    for (const ref of refs) {
      const key = keyOf(ref);
      keys.add(key);
      const held = this.#byKey.get(key);
      if (held === undefined) lost.push(toRef(ref));
      else held.seq = named;
    }
    for (const [key, held] of this.#byKey) if (!held.answered && !keys.has(key)) this.settle(held);
    return lost;
  }

  /** Nothing is known here of the session, so what the agent says it holds is believed until the Dispatcher has looked. */
  restore(refs: readonly Ref[]): void {
    for (const ref of refs) this.#add(ref, named);
  }

  /** Gives back what no frame has carried yet. */
  dropUndelivered(): void {
    for (const held of this.#byKey.values()) if (held.seq === undelivered) this.settle(held);
  }

  #add({ taskId, attempt }: Ref, seq: number): boolean {
    const key = `${attempt} ${taskId}`;
    if (this.#byKey.has(key)) return false;
    this.#byKey.set(key, { taskId, attempt, seq, answered: false, cancel: undefined });
    this.#unanswered++;
    return true;
  }
}

/** True for an attempt that went out in a frame of this stream, or that the agent named. */
export function isDelivered(attempt: Attempt): boolean {
  return attempt.seq !== undelivered;
}

const keyOf = ({ taskId, attempt }: Ref): string => `${attempt} ${taskId}`;
const toRef = ({ taskId, attempt }: Ref): Ref => ({ taskId, attempt });
