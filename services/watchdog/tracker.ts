import { Batcher } from "#libs/db/batcher.ts";
import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Subject } from "./core/sample.ts";
import { addSamples, type NewSample } from "./sql/add-samples.ts";
import type { SubjectDirectory } from "./subject-directory.ts";

export interface Report {
  /** Empty: it always counts. */
  readonly batchId: string;
  readonly executions: readonly Execution[];
}

export interface Execution extends Omit<NewSample, "batch" | "subjectId"> {
  readonly subject: Subject;
}

export interface TrackerOptions {
  readonly pool: ConnectionPool;
  readonly subjects: SubjectDirectory;
  /** Gets what was stored, in order, once. */
  readonly onStored: (samples: readonly { subject: Subject; sample: NewSample }[]) => void;
}

/** As many as a request has at most, so that the largest goes alone. */
const maxSamples = 10_000;
const maxUncertain = 10_000;

/** Stores reports, those that arrive while a statement runs together in the next, and passes on what is committed. */
export class Tracker {
  readonly #options: TrackerOptions;
  readonly #batcher: Batcher<Report, boolean>;
  /** Batches whose commit nobody heard of: stored or not, they were not passed on. */
  readonly #uncertain = new Set<string>();

  constructor(options: TrackerOptions) {
    this.#options = options;
    this.#batcher = new Batcher({
      // The statement compares each batch with each.
      maxItems: 200,
      maxBytes: maxSamples,
      sizeOf: ({ executions }) => executions.length,
      run: (reports) => this.#store(reports),
    });
  }

  /** Resolves when the report is committed: with true, or with false if its batch was counted before. */
  track(report: Report): Promise<boolean> {
    return this.#batcher.add(report);
  }

  async #store(reports: readonly Report[]): Promise<boolean[]> {
    const { pool, subjects, onStored } = this.#options;
    const first = new Map<string, Report>();
    for (const report of reports)
      if (report.batchId !== "" && !first.has(report.batchId)) first.set(report.batchId, report);
    const batchIds = [...first.keys()].toSorted();
    const numbers = new Map(batchIds.map((id, index) => [id, index] as const));

    const counted = reports.filter((report) => report.batchId === "" || first.get(report.batchId) === report);
    const executions = counted.flatMap(({ batchId, executions: those }) =>
      those.map((execution) => ({ ...execution, batch: numbers.get(batchId) ?? -1 })),
    );
    const ids = await subjects.idsOf(executions.map(({ subject }) => subject));
    const samples = executions.map((execution, index) => ({ ...execution, subjectId: ids[index]! }));

    const fresh = await addSamples(pool, batchIds, samples).catch((error: unknown) => {
      if (isConnectionFailure(error)) this.#remember(batchIds);
      throw error;
    });
    const isNew = batchIds.map((id) => {
      const uncertain = this.#uncertain.delete(id);
      return fresh.has(id) || uncertain;
    });
    onStored(
      samples.filter(({ batch }) => batch < 0 || isNew[batch]).map((sample) => ({ subject: sample.subject, sample })),
    );
    return reports.map((report) => {
      if (report.batchId === "") return true;
      return first.get(report.batchId) === report && isNew[numbers.get(report.batchId)!]!;
    });
  }

  #remember(batchIds: readonly string[]): void {
    for (const id of batchIds) this.#uncertain.add(id);
    for (const id of this.#uncertain) {
      if (this.#uncertain.size <= maxUncertain) break;
      this.#uncertain.delete(id);
    }
  }
}
