import type { Sample } from "./sample.ts";

export const ringCapacity = 1_000;
const firstCapacity = 32;

/**
 * The last 1,000 executions. Single precision: 7 digits of a duration or of a size, at 21 bytes a sample. It begins small and
 * doubles, because most agents of a large mesh execute little.
 */
export class SampleRing {
  #capacity = firstCapacity;
  #subjectIds = new Int32Array(firstCapacity);
  #durationsMs = new Float32Array(firstCapacity);
  #failed = new Uint8Array(firstCapacity);
  #memoryBefore = new Float32Array(firstCapacity);
  #memoryAfter = new Float32Array(firstCapacity);
  #heapAfter = new Float32Array(firstCapacity);
  #total = 0;

  /** Samples that were ever pushed. */
  get total(): number {
    return this.#total;
  }

  /** Samples that are there. */
  get size(): number {
    return Math.min(this.#total, this.#capacity);
  }

  push(sample: Sample): void {
    if (this.#total === this.#capacity && this.#capacity < ringCapacity) this.#grow();
    const at = this.#total % this.#capacity;
    this.#subjectIds[at] = sample.subjectId;
    this.#durationsMs[at] = sample.durationMs;
    this.#failed[at] = sample.failed ? 1 : 0;
    this.#memoryBefore[at] = sample.memoryBeforeBytes;
    this.#memoryAfter[at] = sample.memoryAfterBytes;
    this.#heapAfter[at] = sample.heapAfterCollectionBytes;
    this.#total++;
  }

  /** Oldest first. */
  *samples(): Generator<Sample> {
    for (let i = this.#total - this.size; i < this.#total; i++) {
      const at = i % this.#capacity;
      yield {
        subjectId: this.#subjectIds[at]!,
        durationMs: this.#durationsMs[at]!,
        failed: this.#failed[at] === 1,
        memoryBeforeBytes: this.#memoryBefore[at]!,
        memoryAfterBytes: this.#memoryAfter[at]!,
        heapAfterCollectionBytes: this.#heapAfter[at]!,
      };
    }
  }

  #grow(): void {
    // Nothing was overwritten yet, so the order stays as it is.
    this.#capacity = Math.min(ringCapacity, this.#capacity * 2);
    this.#subjectIds = grown(this.#subjectIds, new Int32Array(this.#capacity));
    this.#durationsMs = grown(this.#durationsMs, new Float32Array(this.#capacity));
    this.#failed = grown(this.#failed, new Uint8Array(this.#capacity));
    this.#memoryBefore = grown(this.#memoryBefore, new Float32Array(this.#capacity));
    this.#memoryAfter = grown(this.#memoryAfter, new Float32Array(this.#capacity));
    this.#heapAfter = grown(this.#heapAfter, new Float32Array(this.#capacity));
  }
}

function grown<A extends Int32Array | Float32Array | Uint8Array>(from: A, to: A): A {
  to.set(from);
  return to;
}
