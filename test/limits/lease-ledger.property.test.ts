import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { leaseAgeMs } from "#libs/limits/arbiter.ts";
import { LeaseLedger, type LeaseAsk, type Spending } from "#libs/limits/lease-ledger.ts";
import { LimitIndex, type Need } from "#libs/limits/limit-index.ts";
import { type Limit, LimitSchema } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { tokenRate } from "../../services/ratelimit/core/gcra.ts";
import type { Rule } from "../../services/ratelimit/core/rule.ts";
import { windowRule } from "../../services/ratelimit/core/window.ts";
import { tokens } from "../ratelimit/running.ts";
import { ArbiterModel, toMessage } from "./arbiter-model.ts";

const traces = Number(process.env["LIMITS_TRACES"] ?? 500);
const leaseMs = 1_000;
/** Within this a holder learns of a change. */
const learnMs = 300;

interface Use {
  readonly atMs: number;
  readonly cost: number;
}

interface RuleSpec {
  readonly kind: "tokens" | "window";
  readonly count: number;
  readonly periodMs: number;
  readonly burst: number;
}

const ruleSpec: fc.Arbitrary<RuleSpec> = fc.record({
  kind: fc.constantFrom("tokens", "window"),
  count: fc.integer({ min: 10, max: 1_000 }),
  periodMs: fc.constantFrom(200, 1_000, 3_000),
  burst: fc.integer({ min: 10, max: 200 }),
});

const limitNames = ["a", "b"] as const;
const holders = 2;
const delayMs = fc.oneof(
  { weight: 30, arbitrary: fc.nat({ max: 5 }) },
  { weight: 1, arbitrary: fc.nat({ max: 2_000 }) },
);
const command = fc.record({
  afterMs: fc.oneof(
    { weight: 24, arbitrary: fc.nat({ max: 20 }) },
    { weight: 2, arbitrary: fc.nat({ max: 300 }) },
    { weight: 1, arbitrary: fc.nat({ max: 2_500 }) },
  ),
  holder: fc.nat({ max: holders - 1 }),
  act: fc.oneof(
    {
      weight: 40,
      arbitrary: fc.record({
        case: fc.constant("use" as const),
        on: fc.constantFrom("a", "b", "ab"),
        cost: fc.integer({ min: 1, max: 6 }),
        times: fc.integer({ min: 1, max: 6 }),
        back: fc.boolean(),
      }),
    },
    { weight: 3, arbitrary: fc.record({ case: fc.constant("sweep" as const) }) },
    {
      weight: 2,
      arbitrary: fc.record({ case: fc.constant("acquire" as const), cost: fc.integer({ min: 1, max: 6 }) }),
    },
    { weight: 1, arbitrary: fc.record({ case: fc.constant("recall" as const) }) },
    { weight: 1, arbitrary: fc.record({ case: fc.constant("crash" as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        case: fc.constant("change" as const),
        on: fc.constantFrom(...limitNames),
        count: fc.integer({ min: 10, max: 150 }),
      }),
    },
  ),
  // Of the request that may follow: how long each way takes, and whether it or its answer gets lost.
  thereMs: delayMs,
  backMs: delayMs,
  lost: fc.constantFrom("no", "no", "no", "no", "request", "answer"),
});
type Command = typeof command extends fc.Arbitrary<infer C> ? C : never;

const toRule = ({ kind, count, periodMs, burst }: RuleSpec): Rule =>
  kind === "tokens"
    ? tokenRate(BigInt(count), BigInt(periodMs) * 1_000_000n, BigInt(burst))
    : windowRule(BigInt(count), BigInt(periodMs) * 1_000_000n);

const toLimit = (name: string, { kind, count, periodMs, burst }: RuleSpec): Limit =>
  create(LimitSchema, {
    namespace: "n",
    name,
    kind:
      kind === "tokens"
        ? tokens(count, periodMs, burst)
        : { case: "slidingWindow", value: { count: BigInt(count), window: durationFromMs(periodMs) } },
  });

/** Several holders, one arbiter, a network between them that delays and loses, and one true time. */
class World {
  nowMs = 10_000;
  readonly uses = new Map<string, Use[]>(limitNames.map((name) => [name, []]));
  /** Every rule that was in force, and until when it may have been followed. */
  readonly rules = new Map<string, { spec: RuleSpec; untilMs: number }[]>();
  readonly #arbiter: ArbiterModel;
  readonly #specs: Map<string, RuleSpec>;
  #index: LimitIndex;
  #events: { readonly atMs: number; readonly run: () => void }[] = [];
  #holders: { readonly ledger: LeaseLedger; readonly rate: number; index: LimitIndex; isAsking: boolean }[];

  constructor(specs: readonly RuleSpec[], rates: readonly number[]) {
    this.#specs = new Map(limitNames.map((name, i) => [name, specs[i]!]));
    this.rules = new Map(limitNames.map((name, i) => [name, [{ spec: specs[i]!, untilMs: Infinity }]]));
    this.#arbiter = new ArbiterModel(new Map([...this.#specs].map(([name, spec]) => [name, toRule(spec)])), leaseMs);
    this.#index = this.#read();
    // Each has its own reading, as it has its own process.
    this.#holders = rates.map((rate) => ({ ledger: new LeaseLedger(), rate, index: this.#read(), isAsking: false }));
  }

  run({ afterMs, holder, act, ...network }: Command): void {
    this.#advance(this.nowMs + afterMs);
    const { ledger } = this.#holders[holder]!;
    const ownMs = this.#own(holder);
    switch (act.case) {
      case "use":
        for (let i = 0; i < act.times; i++) this.#use(holder, act.on.split(""), act.cost, act.back);
        break;
      case "sweep":
        ledger.sweep(ownMs);
        break;
      case "acquire": {
        const needs = this.#needs(this.#index, ["a"], act.cost, this.nowMs);
        if (this.#arbiter.acquire(needs, this.#us()) === 0n) this.#log(needs);
        return;
      }
      case "recall":
        ledger.recallEverything();
        break;
      case "crash":
        this.#holders[holder] = {
          ...this.#holders[holder]!,
          ledger: new LeaseLedger(),
          index: this.#read(),
          isAsking: false,
        };
        return;
      case "change": {
        this.#change(act.on, act.count);
        return;
      }
      default:
        throw act satisfies never;
    }
    this.#ask(holder, [], network);
  }

  #use(holder: number, names: readonly string[], cost: number, back: boolean): void {
    const { ledger, index } = this.#holders[holder]!;
    const ownMs = this.#own(holder);
    const needs = this.#needs(index, names, cost, ownMs);
    for (const need of needs) need.bucket.note(need.cost, ownMs);
    const spendings: Spending[] = [];
    if (!ledger.take(needs, ownMs, spendings)) {
      this.#ask(holder, [needs], { thereMs: 1, backMs: 1, lost: "no" });
      if (this.#arbiter.acquire(needs, this.#us()) === 0n) this.#log(needs);
      return;
    }
    if (back) this.#at(this.nowMs + 5, () => ledger.giveBack(spendings));
    else this.#log(needs);
  }

  /** As the holder's rounds do: one call at a time. */
  #ask(
    holder: number,
    waiting: readonly (readonly Need[])[],
    network: Pick<Command, "thereMs" | "backMs" | "lost">,
  ): void {
    const one = this.#holders[holder]!;
    if (one.isAsking) return;
    const sentMs = this.#own(holder);
    const asks: LeaseAsk[] = one.ledger.asks(waiting, sentMs);
    if (asks.length === 0) return;
    one.isAsking = true;
    const message = toMessage(`h${holder}`, asks, (lastUseMs) => leaseAgeMs(sentMs, lastUseMs));
    const answered = (answers: ReturnType<ArbiterModel["lease"]> | undefined): void => {
      one.isAsking = false;
      for (const [i, ask] of asks.entries()) one.ledger.answered(ask, answers?.[i], sentMs, this.#ownOf(one.rate));
    };
    this.#at(this.nowMs + network.thereMs, () => {
      const answers = network.lost === "request" ? undefined : this.#arbiter.lease(message, this.#us());
      this.#at(this.nowMs + network.backMs, () => answered(network.lost === "no" ? answers : undefined));
    });
  }

  #change(name: string, count: number): void {
    const spec = { ...this.#specs.get(name)!, count, burst: Math.max(10, Math.floor(count / 3)) };
    this.#specs.set(name, spec);
    this.#arbiter.setRule(name, toRule(spec), this.#us());
    const all = this.rules.get(name)!;
    // What was leased before can be used until its holder learns of it.
    all.at(-1)!.untilMs = this.nowMs + learnMs;
    all.push({ spec, untilMs: Infinity });
    this.#index = this.#read();
    for (const [i, one] of this.#holders.entries()) {
      this.#at(this.nowMs + learnMs - i * 100, () => {
        one.index = new LimitIndex(
          [...this.#specs].map(([each, its]) => toLimit(each, its)),
          this.#arbiter.revision,
          one.index,
        );
        one.ledger.sweep(this.#ownOf(one.rate));
      });
    }
  }

  #needs(index: LimitIndex, names: readonly string[], cost: number, ownMs: number): readonly Need[] {
    const costs = [{ unit: "", amount: BigInt(cost) }];
    return index.needsOf({ namespace: "n", capability: "", user: "", labels: [], costs, limits: names }, ownMs)!;
  }

  #log(needs: readonly Need[]): void {
    for (const { bucket, cost } of needs) this.uses.get(bucket.limit.name)!.push({ atMs: this.nowMs, cost });
  }

  #read(): LimitIndex {
    return new LimitIndex(
      [...this.#specs].map(([name, spec]) => toLimit(name, spec)),
      this.#arbiter?.revision ?? 1n,
    );
  }

  #own(holder: number): number {
    return this.#ownOf(this.#holders[holder]!.rate);
  }

  #ownOf(rate: number): number {
    return this.nowMs * rate;
  }

  #us(): bigint {
    return BigInt(this.nowMs) * 1_000n;
  }

  #at(atMs: number, run: () => void): void {
    this.#events.push({ atMs, run });
    this.#events.sort((x, y) => x.atMs - y.atMs);
  }

  #advance(toMs: number): void {
    for (let next = this.#events[0]; next !== undefined && next.atMs <= toMs; next = this.#events[0]) {
      this.#events.shift();
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = toMs;
  }
}

/** Every interval, and every window: under the most generous of the rules that were in force within it. */
function assertWithin(uses: readonly Use[], rules: readonly { spec: RuleSpec; untilMs: number }[]): void {
  for (const [i, from] of uses.entries()) {
    const inForce = rules.filter(({ untilMs }) => untilMs >= from.atMs).map(({ spec }) => spec);
    const count = Math.max(...inForce.map((spec) => spec.count));
    const burst = Math.max(...inForce.map((spec) => spec.burst));
    const { kind, periodMs } = inForce[0]!;
    let sum = 0;
    for (const to of uses.slice(i)) {
      if (kind === "window" && to.atMs - from.atMs >= periodMs) break;
      sum += to.cost;
      const most = kind === "window" ? count : burst + (count * (to.atMs - from.atMs)) / periodMs;
      assert.ok(
        sum <= most + 1e-6,
        `${kind}: ${sum} instead of ${most} in ${to.atMs - from.atMs} ms from ${from.atMs}`,
      );
    }
  }
}

let used = 0;
test("what holders use of their leases is never more than the limit, at the moment of use, whatever is lost or crashes", () => {
  // Clocks are slewed by 500 parts in a million at most.
  const rate = fc.constantFrom(0.9995, 1, 1.0005);
  const setting = fc.tuple(ruleSpec, ruleSpec, fc.array(rate, { minLength: holders, maxLength: holders }));
  fc.assert(
    fc.property(setting, fc.array(command, { minLength: 150, maxLength: 250 }), ([a, b, rates], commands) => {
      const world = new World([a, b], rates);
      for (const one of commands) world.run(one);
      for (const name of limitNames) {
        const uses = world.uses.get(name)!;
        used += uses.length;
        assertWithin(uses, world.rules.get(name)!);
      }
    }),
    { numRuns: traces },
  );
  assert.ok(used > traces * 40, `the traces use something: ${used / traces} times each`);
});
