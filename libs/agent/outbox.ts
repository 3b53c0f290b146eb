import type { AttemptOutcome } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Attempt } from "./attempt.ts";

const maxOutcomes = 1_000;
const maxBytes = 1024 * 1024;

/** Outcomes from their making until the mesh has acknowledged them; in the order in which they were made. */
export class Outbox {
  #queue: Attempt[] = [];
  #head = 0;
  /** By frame of the present stream. */
  #sent: { seq: number; attempts: Attempt[] }[] = [];
  #sentCount = 0;

  get size(): number {
    return this.unsent + this.#sentCount;
  }

  get unsent(): number {
    return this.#queue.length - this.#head;
  }

  add(attempt: Attempt): void {
    this.#queue.push(attempt);
  }

  /** The outcomes for frame `seq`: at most 1,000 and about 1 MiB, at least one if there is one. */
  take(seq: number): AttemptOutcome[] {
    const attempts: Attempt[] = [];
    const outcomes: AttemptOutcome[] = [];
    for (let bytes = 0; this.#head < this.#queue.length && outcomes.length < maxOutcomes && bytes < maxBytes;) {
      const attempt = this.#queue[this.#head++]!;
      attempts.push(attempt);
      outcomes.push(attempt.outcome!);
      bytes += sizeOf(attempt.outcome!);
    }
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    }
    if (attempts.length > 0) this.#sent.push({ seq, attempts });
    this.#sentCount += attempts.length;
    return outcomes;
  }

  /** All frames up to `seq` are dealt with. Returns their attempts. */
  acknowledge(seq: number): Attempt[] {
    const done: Attempt[] = [];
    while (this.#sent[0] !== undefined && this.#sent[0].seq <= seq) done.push(...this.#sent.shift()!.attempts);
    this.#sentCount -= done.length;
    return done;
  }

  /** A new stream begins: everything not acknowledged is to be sent again, but for what is lost. */
  rewind(): void {
    const unacknowledged = [...this.#sent.flatMap(({ attempts }) => attempts), ...this.#queue.slice(this.#head)];
    this.#queue = unacknowledged.filter(({ state }) => state === "answered");
    this.#head = 0;
    this.#sent = [];
    this.#sentCount = 0;
  }
}

/** Near enough for a bound: what varies is the payload and a failure's message. */
function sizeOf({ outcome }: AttemptOutcome): number {
  const kind = outcome?.kind;
  if (kind?.case === "completed") return 64 + (kind.value.result?.data.length ?? 0);
  if (kind?.case === "failed") return 64 + kind.value.message.length + (kind.value.details?.data.length ?? 0);
  return 64;
}
