import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { ringCapacity } from "./core/sample-ring.ts";
import { forgetBatches, forgetSubjects, trimSamples } from "./sql/clean.ts";

export interface TrimmerOptions {
  readonly pool: ConnectionPool;
  readonly sampleRetentionMs: number;
  readonly batchRetentionMs: number;
  readonly onTrimmed: (samples: number) => void;
}

// Up to 20,000 rows a statement.
const subjectsPerStatement = 20;
const forgottenPerStatement = 10;
const statementsPerRound = 10;
const maxCounted = 200_000;

/** Keeps the table to what the rings hold: the last 1,000 samples of a subject, trimmed when it has 2,000. */
export class Trimmer {
  readonly #options: TrimmerOptions;
  readonly #added = new Map<number, number>();

  constructor(options: TrimmerOptions) {
    this.#options = options;
  }

  added(subjectId: number): void {
    // Forgotten counts put a trim off by another 2,000 samples.
    if (this.#added.size > maxCounted) this.#added.clear();
    this.#added.set(subjectId, (this.#added.get(subjectId) ?? 0) + 1);
  }

  async tick(): Promise<void> {
    const { pool, onTrimmed, sampleRetentionMs, batchRetentionMs } = this.#options;
    const due = [...this.#added].filter(([, count]) => count >= 2 * ringCapacity).map(([subjectId]) => subjectId);
    for (let i = 0; i < statementsPerRound && i * subjectsPerStatement < due.length; i++) {
      const subjectIds = due.slice(i * subjectsPerStatement, (i + 1) * subjectsPerStatement);
      onTrimmed(await trimSamples(pool, subjectIds, ringCapacity));
      for (const subjectId of subjectIds) this.#added.set(subjectId, ringCapacity);
    }
    await repeat(forgottenPerStatement, (max) => forgetSubjects(pool, sampleRetentionMs, max));
    await repeat(2_000, (max) => forgetBatches(pool, batchRetentionMs, max));
  }
}

async function repeat(max: number, forget: (max: number) => Promise<number>) {
  for (let i = 0; i < statementsPerRound; i++) if ((await forget(max)) < max) return;
}
