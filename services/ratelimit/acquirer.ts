import { isConnectionFailure } from "#libs/db/connection-failure.ts";
import { Batcher } from "#libs/db/batcher.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Acquisition } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { missingLimit, planBatch, type PlannedBucket } from "./core/plan.ts";
import type { LimitSet } from "./core/limit-set.ts";
import { limitNotFound } from "./failures.ts";
import type { LimitsCache } from "./limits-cache.ts";
import { acquire } from "./sql/acquire.ts";

export interface Result {
  /** The bucket that refused; undefined: admitted. */
  readonly refusedBy: PlannedBucket | undefined;
  /** Microseconds; undefined: waiting does not help, or nobody refused. */
  readonly waitUs: bigint | undefined;
  /** Whether the bucket that refused is paused. */
  readonly paused: boolean;
}

interface Request {
  readonly acquisitions: readonly Acquisition[];
  readonly inOrder: boolean;
}

export interface AcquirerOptions {
  readonly pool: ConnectionPool;
  readonly limits: LimitsCache;
  /** Statements that run at a time. */
  readonly concurrency: number;
  /** Told of each batch: how many acquisitions, and how often it had to be planned anew. */
  readonly onBatch?: (acquisitions: number, replanned: number) => void;
}

type Answer = Result[] | Error;
const admitted: Result = { refusedBy: undefined, waitUs: undefined, paused: false };
// The most acquisitions a statement decides: 75,000 a second with 500, 51,000 with 100, one statement at a time.
const maxAcquisitions = 500;
// Limits that change faster than a batch can be planned, or deadlocks of replicas that sort differently.
const maxAttempts = 10;

/** Group commit for acquisitions: what arrives while a statement runs is decided together in the next. */
export class Acquirer {
  readonly #options: AcquirerOptions;
  readonly #batcher: Batcher<Request, Answer>;

  constructor(options: AcquirerOptions) {
    this.#options = options;
    this.#batcher = new Batcher({
      maxItems: maxAcquisitions,
      maxBytes: maxAcquisitions,
      sizeOf: ({ acquisitions }) => acquisitions.length,
      concurrency: options.concurrency,
      run: (requests) => this.#decide(requests),
    });
  }

  /**
   * Decides the acquisitions of one call in their order, each all or nothing. With `inOrder` none passes another that needs a bucket
   * in common.
   * @throws LIMIT_NOT_FOUND if one names a limit that does not exist; then none of the call is decided.
   */
  async acquire(acquisitions: readonly Acquisition[], inOrder = false): Promise<Result[]> {
    const answer = await this.#batcher.add({ acquisitions, inOrder });
    if (answer instanceof Error) throw answer;
    return answer;
  }

  async #decide(requests: readonly Request[]): Promise<Answer[]> {
    const { limits, pool, onBatch } = this.#options;
    let current = limits.current;
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const missing = requests.map(({ acquisitions }) => missingIn(current, acquisitions));
      if (attempt === 0 && missing.some((error) => error !== undefined)) {
        // Perhaps it was set at another replica a moment ago.
        current = await limits.refresh();
        continue;
      }
      const asked = requests.filter((_, index) => missing[index] === undefined);
      const decided = asked.flatMap(({ acquisitions }) => acquisitions);
      const plan = planBatch(current, decided, ordersOf(asked));
      // Also when nothing applies: that is a decision about the limits as they are stored.
      const decisions = await acquire(pool, current.revision, plan).catch(lostRace);
      if (decisions === undefined) {
        current = await limits.reload();
        continue;
      }
      onBatch?.(decided.length, attempt);
      const results = decisions.map(({ refusedBy, waitUs, paused }) =>
        refusedBy === 0 ? admitted : { refusedBy: plan.buckets[refusedBy - 1], waitUs, paused },
      );
      for (const [index, first] of plan.repeats) results[index] = results[first]!;
      let next = 0;
      return requests.map(
        ({ acquisitions }, index) => missing[index] ?? results.slice(next, (next += acquisitions.length)),
      );
    }
    throw new Error(`limits changed or collided ${maxAttempts} times in a row during one batch`);
  }
}

function ordersOf(requests: readonly Request[]): number[] {
  if (!requests.some(({ inOrder }) => inOrder)) return [];
  return requests.flatMap(({ acquisitions, inOrder }, index) => acquisitions.map(() => (inOrder ? index + 1 : 0)));
}

function missingIn(limits: LimitSet, acquisitions: readonly Acquisition[]): Error | undefined {
  for (const acquisition of acquisitions) {
    const name = missingLimit(limits, acquisition);
    if (name !== undefined) return limitNotFound(acquisition.namespace, name);
  }
  return undefined;
}

/** Deadlock, or a reservation made elsewhere meanwhile: the transaction left nothing behind and is tried again. */
function lostRace(error: unknown): undefined {
  const { code } = error as { code?: unknown };
  if (!isConnectionFailure(error) && (code === "40P01" || code === "40001")) return undefined;
  throw error;
}
