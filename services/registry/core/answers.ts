import type { AttemptOutcome } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Attempt } from "./attempts.ts";

/** The outcomes of one frame of the agent, kept until the Dispatcher has dealt with them. */
export interface Answer {
  /** The frame's number; 0 when its stream is gone and nobody waits for the acknowledgement. */
  seq: number;
  readonly outcomes: AttemptOutcome[];
  readonly attempts: Attempt[];
  /** The frame of the Link that carried the last of them; 0 while none has. */
  linkSeq: number;
}

/** Answers in the order they came, which is the order in which they are sent on and acknowledged. */
export class Answers {
  #queue: Answer[] = [];

  get length(): number {
    return this.#queue.length;
  }

  push(answer: Answer): void {
    this.#queue.push(answer);
  }

  /** The Dispatcher has dealt with everything up to that frame of the Link. */
  settle(linkSeq: number): Answer[] {
    let count = 0;
    for (const answer of this.#queue) {
      if (answer.linkSeq === 0 || answer.linkSeq > linkSeq) break;
      count++;
    }
    return count === 0 ? [] : this.#queue.splice(0, count);
  }

  /** Up to which of the agent's frames everything is dealt with, when it has sent `receivedSeq` frames. */
  acknowledgeable(receivedSeq: number): number {
    const first = this.#queue[0];
    return first === undefined ? receivedSeq : Math.max(0, first.seq - 1);
  }

  /** The Link is gone. All of them must be sent again, on another. */
  linkLost(): readonly Answer[] {
    for (const answer of this.#queue) answer.linkSeq = 0;
    return this.#queue;
  }

  /** The agent's stream is gone, and its numbers with it. */
  streamLost(): void {
    for (const answer of this.#queue) answer.seq = 0;
  }
}
