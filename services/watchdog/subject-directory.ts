import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { keyOf } from "./core/rings.ts";
import type { Subject } from "./core/sample.ts";
import { keepSubjects } from "./sql/subjects.ts";

interface Known {
  readonly id: number;
  readonly confirmedMs: number;
}

/** Shorter by far than the retention, so that what is used from memory was not deleted by another replica meanwhile. */
const confirmEveryMs = 3_600_000;

/** The ids of subjects, from memory where they are known. */
export class SubjectDirectory {
  readonly #pool: ConnectionPool;
  readonly #clock: Clock;
  readonly #maxKnown: number;
  readonly #byKey = new Map<string, Known>();
  readonly #byId = new Map<number, Subject>();

  /** @param maxKnown subjects that are remembered; beyond it all are forgotten and asked for again. */
  constructor(pool: ConnectionPool, clock: Clock, maxKnown: number) {
    this.#pool = pool;
    this.#clock = clock;
    this.#maxKnown = maxKnown;
  }

  subject(id: number): Subject | undefined {
    return this.#byId.get(id);
  }

  /** Tells of a subject that was read beside a sample. */
  learn(id: number, subject: Subject): void {
    if (this.#byId.has(id)) return;
    if (this.#byId.size >= this.#maxKnown) {
      this.#byId.clear();
      this.#byKey.clear();
    }
    this.#byId.set(id, subject);
  }

  /** The id of each subject, in their order. */
  async idsOf(subjects: readonly Subject[]): Promise<number[]> {
    const nowMs = this.#clock.monotonic();
    const keys = subjects.map(keyOfSubject);
    const ids = new Map<string, number>();
    const unknown = new Map<string, Subject>();
    for (const [index, key] of keys.entries()) {
      const known = this.#byKey.get(key);
      if (known !== undefined && nowMs - known.confirmedMs < confirmEveryMs) ids.set(key, known.id);
      else unknown.set(key, subjects[index]!);
    }
    if (unknown.size > 0) {
      for (const { id, subject } of await keepSubjects(this.#pool, [...unknown.values()])) {
        const key = keyOfSubject(subject);
        this.learn(id, subject);
        this.#byKey.set(key, { id, confirmedMs: nowMs });
        ids.set(key, id);
      }
    }
    return keys.map((key) => ids.get(key)!);
  }
}

function keyOfSubject({ namespace, agentId, name, version, capability }: Subject): string {
  return keyOf(namespace, agentId, name, version, capability);
}
