import { durationMs } from "@bufbuild/protobuf/wkt";
import type { AcquireResult } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { type Arbiter, isAway, toAcquisition } from "./arbiter.ts";
import type { Decision, Waiting } from "./decision.ts";
import type { LeaseAsk, LeaseLedger, Spending } from "./lease-ledger.ts";
import type { LimitIndex, Need } from "./limit-index.ts";
import type { MonotonicClock } from "./limiter.ts";
import type { Reachability } from "./reachability.ts";
import type { RecentRefusals } from "./recent-refusals.ts";

export interface RoundParts {
  readonly arbiter: Arbiter;
  readonly ledger: LeaseLedger;
  readonly reachability: Reachability;
  readonly refusals: RecentRefusals;
  readonly clock: MonotonicClock;
  readonly index: () => LimitIndex | undefined;
  readonly withoutArbiter: (needs: readonly Need[]) => Decision;
}

interface Open {
  readonly waiting: Waiting;
  /** Empty also where it is the arbiter that has to say what applies. */
  readonly needs: readonly Need[];
  readonly mustAsk: boolean;
  /** What leases cover is spent already while the rest is asked for. */
  spendings: Spending[];
  rest: readonly Need[];
}

/** Of one call of `Lease`. */
const mostItems = 1_000;

/**
 * One round of asking the arbiter: leases are returned and taken, then `Acquire` decides what they do not cover. Rounds follow
 * each other, so that no lease takes away what the next call is about to ask for.
 */
export class Rounds {
  readonly #parts: RoundParts;

  constructor(parts: RoundParts) {
    this.#parts = parts;
  }

  /** @throws what the arbiter answered, if it could not be made sense of; whoever has no answer then is still to get one. */
  async run(waiting: readonly Waiting[]): Promise<void> {
    const { ledger, clock, reachability } = this.#parts;
    const index = this.#parts.index();
    let open: Open[] = [];
    for (const one of waiting) {
      const needs = index?.needsOf(one.subject, clock.monotonic());
      if (index === undefined) one.answer({ kind: "unreachable", limits: undefined });
      else open.push({ waiting: one, needs: needs ?? [], mustAsk: needs === undefined, spendings: [], rest: [] });
    }
    open = this.#takeFromLeases(open);
    try {
      await this.lease(open.map(({ needs }) => needs));
      open = this.#takeFromLeases(open);
      if (open.length === 0) return;
      await this.#send(this.#split(open));
      await this.#acquire(open);
    } catch (error) {
      for (const { spendings } of open) ledger.giveBack(spendings);
      if (!isAway(error)) throw error;
      reachability.failed(error);
      for (const { waiting: one, needs, mustAsk } of open) {
        one.answer(mustAsk ? { kind: "unreachable", limits: undefined } : this.#parts.withoutArbiter(needs));
      }
    }
  }

  /** Returns what is to be returned, and leases what is worth it. */
  async lease(waiting: readonly (readonly Need[])[]): Promise<void> {
    await this.#send(this.#parts.ledger.asks(waiting, this.#parts.clock.monotonic()));
  }

  async #send(asks: readonly LeaseAsk[]): Promise<void> {
    const { arbiter, ledger, clock } = this.#parts;
    for (let i = 0; i < asks.length; i += mostItems) {
      const some = asks.slice(i, i + mostItems);
      const sentMs = clock.monotonic();
      let answers: Awaited<ReturnType<typeof arbiter.lease>> = [];
      try {
        answers = await arbiter.lease(some, sentMs);
      } finally {
        const nowMs = clock.monotonic();
        for (const [j, ask] of some.entries()) ledger.answered(ask, answers[j], sentMs, nowMs);
      }
    }
  }

  #takeFromLeases(open: readonly Open[]): Open[] {
    const { ledger, clock, reachability } = this.#parts;
    return open.filter(({ waiting, needs, mustAsk }) => {
      if (mustAsk) return true;
      const spendings: Spending[] = [];
      if (!ledger.take(needs, clock.monotonic(), spendings)) return true;
      if (needs.length > 0) reachability.count("lease");
      waiting.answer({ kind: "admitted", reservation: { counted: needs, spendings } });
      return false;
    });
  }

  /** Spends what leases cover. The rest is the arbiter's to decide, with all there is: what goes back for that. */
  #split(open: readonly Open[]): LeaseAsk[] {
    const { ledger, clock } = this.#parts;
    const nowMs = clock.monotonic();
    for (const one of open) {
      const covered = one.needs.filter(({ bucket, cost }) => ledger.available(bucket, nowMs) >= cost);
      ledger.take(covered, nowMs, one.spendings);
      one.rest = one.needs.filter((need) => !covered.includes(need));
    }
    return ledger.recall(new Set(open.flatMap(({ rest }) => rest.map(({ bucket }) => bucket))));
  }

  async #acquire(open: readonly Open[]): Promise<void> {
    const { arbiter } = this.#parts;
    const acquisitions = open.map(({ waiting: { subject, reservationId }, needs, rest }) => {
      // Those that apply are found anew there: a limit that was deleted this moment is no error then.
      const limits =
        rest.length === needs.length ? (subject.limits ?? []) : rest.map(({ bucket }) => bucket.limit.name);
      return toAcquisition(subject, reservationId, limits);
    });
    const results = await arbiter.acquire(acquisitions);
    for (const [i, one] of open.entries()) this.#answer(one, results[i]!);
  }

  #answer({ waiting, needs, spendings }: Open, result: AcquireResult): void {
    const { reachability, refusals, ledger, clock } = this.#parts;
    if (result.allowed) {
      reachability.count("acquire");
      waiting.answer({ kind: "admitted", reservation: { counted: needs, spendings } });
      return;
    }
    ledger.giveBack(spendings);
    reachability.count("refused");
    const { limit, key, retryDelay, paused: isPaused, capacity } = result;
    const retryDelayMs = retryDelay === undefined ? undefined : Math.ceil(durationMs(retryDelay));
    const refusal = { limit, key, retryDelayMs, isPaused, capacity: Number(capacity) };
    if (needs.length > 0) refusals.add(needs, refusal, clock.monotonic());
    waiting.answer({ kind: "refused", refusal });
  }
}
