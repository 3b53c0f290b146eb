import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Clock } from "#libs/clock/clock.ts";
import type { ListLimitsResponse, Pause } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { errorReason } from "#libs/rpc/errors.ts";
import type { Metrics } from "#libs/telemetry/metrics.ts";
import { Arbiter, type RateLimitClient } from "./arbiter.ts";
import { CautiousClock } from "./cautious-clock.ts";
import { type Decision, type Reservation, Waiting } from "./decision.ts";
import { LeaseLedger, type Spending } from "./lease-ledger.ts";
import type { LimitEntry } from "./limit-entry.ts";
import { LimitIndex, type Need, type Subject } from "./limit-index.ts";
import { type HolderLog, Reachability } from "./reachability.ts";
import { RecentRefusals } from "./recent-refusals.ts";
import { Rounds } from "./rounds.ts";
import { WhileAway } from "./while-away.ts";

export interface TokenHolderOptions {
  readonly client: RateLimitClient;
  /** Names this process's leases; new with each start of it. */
  readonly holderId: string;
  readonly clock: Clock;
  readonly log: HolderLog;
  /** Only this tenant's limits. Default: all tenants'. */
  readonly namespace?: string;
  readonly metrics?: Metrics;
}

/** How often limits and pauses are read anew: a change holds here within this and a call's time. */
const pollMs = 300;
const sweepMs = 100;
/** What a call takes at most. */
const mostAtOnce = 1_000;
const free: Decision = { kind: "admitted", reservation: { counted: [], spendings: [] } };

/**
 * Decides what limits allow, mostly by itself: it leases tokens of the buckets that are asked for often and spends them with a
 * subtraction; what is asked for seldom it has decided by `Acquire`, many in a call.
 */
export class TokenHolder implements AsyncDisposable {
  readonly #options: TokenHolderOptions;
  readonly #clock: CautiousClock;
  readonly #arbiter: Arbiter;
  readonly #ledger = new LeaseLedger(() => {
    // While it is away the poll finds out when it is back, and the sweep goes on from there.
    if (this.isReachable) this.#wake();
  });
  readonly #reachability: Reachability;
  readonly #whileAway: WhileAway;
  readonly #refusals = new RecentRefusals();
  readonly #rounds: Rounds;
  readonly #timers = new DisposableStack();
  #index: LimitIndex | undefined;
  #pauses: readonly Pause[] = [];
  #polling: Promise<void> | undefined;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;

  constructor(options: TokenHolderOptions) {
    this.#options = options;
    this.#clock = new CautiousClock(options.clock);
    this.#arbiter = new Arbiter(options.client, options.holderId);
    this.#reachability = new Reachability(options.log, () => this.#index, options.metrics);
    this.#whileAway = new WhileAway(options.clock);
    this.#rounds = new Rounds({
      arbiter: this.#arbiter,
      ledger: this.#ledger,
      reachability: this.#reachability,
      refusals: this.#refusals,
      clock: this.#clock,
      index: () => this.#index,
      withoutArbiter: (needs) => this.#withoutArbiter(needs),
    });
  }

  /** Whether the last that was heard of the RateLimit service was an answer. */
  get isReachable(): boolean {
    return this.#reachability.isReachable;
  }

  /** The limits as they were read last; undefined until then. */
  get limits(): LimitIndex | undefined {
    return this.#index;
  }

  /** The pauses under way when limits were read last, each with what was left of it then. */
  get pauses(): readonly Pause[] {
    return this.#pauses;
  }

  /** Buckets that it has leases of. */
  get heldBuckets(): number {
    return this.#ledger.heldBuckets;
  }

  /** Reads limits and gives leases back by the clock, until it is disposed of. Does not keep the process alive. */
  start(): void {
    const { clock } = this.#options;
    this.#timers.use(clock.setInterval(() => void this.poll(), pollMs));
    this.#timers.use(clock.setInterval(() => this.sweep(), sweepMs));
    void this.poll();
  }

  /** Decides at once, if it can without asking. */
  decide(subject: Subject): Decision | undefined {
    if (this.#index === undefined) return undefined;
    const nowMs = this.#clock.monotonic();
    const needs = this.#index.needsOf(subject, nowMs);
    if (needs === undefined) return undefined;
    if (needs.length === 0) return free;
    for (const { bucket, cost } of needs) bucket.note(cost, nowMs);
    const spendings: Spending[] = [];
    if (this.#ledger.take(needs, nowMs, spendings)) {
      this.#reachability.count("lease");
      return { kind: "admitted", reservation: { counted: needs, spendings } };
    }
    if (!this.isReachable) return this.#withoutArbiter(needs);
    const refusal = this.#refusals.find(needs, nowMs);
    if (refusal === undefined) return undefined;
    this.#reachability.count("refused");
    return { kind: "refused", refusal };
  }

  /**
   * @param reservationId names the reservation where it is the arbiter that takes it: the same id again takes nothing more there.
   * @throws ConnectError for what the arbiter cannot make sense of
   */
  admit(subject: Subject, reservationId = ""): Promise<Decision> {
    const decision = this.decide(subject);
    if (decision !== undefined) return Promise.resolve(decision);
    const waiting = new Waiting(subject, reservationId);
    this.#waiting.push(waiting);
    this.#wake();
    return waiting.decision;
  }

  /** Takes back what was reserved and not used after all, as far as it came from leases that are still held. */
  release({ spendings }: Reservation): void {
    this.#ledger.giveBack(spendings);
  }

  /** Reads what changed of limits and pauses. Two at once are one. */
  poll(): Promise<void> {
    return (this.#polling ??= this.#poll().finally(() => (this.#polling = undefined)));
  }

  /** Gives back what is not needed, and renews what soon ends. */
  sweep(): void {
    this.#ledger.sweep(this.#clock.monotonic());
    this.#reachability.publish();
    if (this.isReachable && (this.#ledger.hasDue || this.#ledger.hasReturns)) this.#wake();
  }

  /** Gives all leases back, if the arbiter answers. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#timers.dispose();
    await this.#running;
    this.#ledger.recallEverything();
    if (this.isReachable) await this.#rounds.lease([]).catch(() => {});
  }

  async #poll(): Promise<void> {
    const { failures } = this.#reachability;
    try {
      const known = this.#index?.revision ?? 0n;
      const answer = await this.#arbiter.listLimits(this.#options.namespace ?? "", known);
      if (this.#index === undefined || answer.revision !== known) this.#learn(answer);
      this.#reachability.answered(failures);
    } catch (error) {
      this.#reachability.failed(error);
    }
  }

  #learn({ limits, revision, pauses }: ListLimitsResponse): void {
    const index = new LimitIndex(limits, revision, this.#index);
    const nowMs = this.#clock.monotonic();
    const ends = new Map<LimitEntry, Map<string, number>>();
    for (const { namespace, limit, key, remaining } of pauses) {
      const entry = index.find(namespace, limit);
      if (entry === undefined) continue;
      const own = ends.get(entry) ?? new Map<string, number>();
      ends.set(entry, own.set(key, nowMs + (remaining ? durationMs(remaining) : 0)));
    }
    for (const entry of index.entries()) entry.setPauses(ends.get(entry) ?? new Map());
    this.#index = index;
    this.#pauses = pauses;
    this.#refusals.clear();
    // What is held of limits that are gone and of buckets that are paused goes back.
    this.sweep();
  }

  #withoutArbiter(needs: readonly Need[]): Decision {
    const spendings: Spending[] = [];
    const refusing = this.#whileAway.admit(needs, this.#ledger, this.#clock.monotonic(), spendings);
    if (refusing !== undefined) {
      this.#reachability.count("unreachable");
      return { kind: "unreachable", limits: refusing.map(({ name }) => name) };
    }
    this.#reachability.count("uncounted");
    const buckets = new Set(spendings.map(({ bucket }) => bucket));
    const counted = needs.filter(({ bucket }) => buckets.has(bucket));
    return { kind: "admitted", reservation: { counted, spendings } };
  }

  #wake(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#waiting.length > 0) this.#wake();
    });
  }

  async #run(): Promise<void> {
    // What comes in one turn of the event loop goes in one call.
    await new Promise((resolve) => setImmediate(resolve));
    do {
      const waiting = this.#waiting.splice(0, mostAtOnce);
      try {
        if (this.#index === undefined) await this.poll();
        await this.#rounds.run(waiting);
      } catch (error) {
        await this.#failed(waiting, error as Error);
      }
    } while (this.#waiting.length > 0);
  }

  async #failed(waiting: Waiting[], error: Error): Promise<void> {
    // A limit was deleted, and this was not known here yet.
    if (errorReason(error) === "LIMIT_NOT_FOUND") await this.poll();
    else if (waiting.length === 0) this.#options.log.warn("tokens could not be leased", { err: error });
    for (const one of waiting) {
      if (!one.isOpen) continue;
      if (errorReason(error) === "LIMIT_NOT_FOUND" && !one.isRepeated) {
        one.isRepeated = true;
        this.#waiting.push(one);
      } else {
        one.fail(error);
      }
    }
  }
}
