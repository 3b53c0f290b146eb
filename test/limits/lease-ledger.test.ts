import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { type LeaseAnswer, type LeaseAsk, LeaseLedger, type Spending } from "#libs/limits/lease-ledger.ts";
import { LimitIndex, type Need } from "#libs/limits/limit-index.ts";
import { LimitSchema } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { tokens } from "../ratelimit/running.ts";

const make = (name: string, burst: number, unit = "") =>
  create(LimitSchema, { namespace: "n", name, unit, kind: tokens(burst, 1_000, burst) });
const subject = (limits: string[], amount = 1) => ({
  namespace: "n",
  capability: "",
  user: "",
  labels: [],
  costs: [{ unit: "", amount: BigInt(amount) }],
  limits,
});

let nowMs: number;
let index: LimitIndex;
let ledger: LeaseLedger;
let due: number;

beforeEach(() => {
  nowMs = 5_000;
  due = 0;
  index = new LimitIndex([make("big", 1_000), make("other", 1_000), make("small", 9)], 7n);
  ledger = new LeaseLedger(() => due++);
});

const needsOf = (limits: string[], amount = 1) => index.needsOf(subject(limits, amount), nowMs)!;

function want(needs: readonly Need[], times = 1): void {
  for (let i = 0; i < times; i++) for (const { bucket, cost } of needs) bucket.note(cost, nowMs);
}

const grant = (granted: number, init: Partial<LeaseAnswer> = {}): LeaseAnswer => ({
  id: 1n,
  granted,
  durationMs: 1_000,
  retryDelayMs: undefined,
  revision: 7n,
  ...init,
});

/** Leases what is asked for. */
function lease(needs: readonly Need[], sentMs = nowMs, init: Partial<LeaseAnswer> = {}): LeaseAsk[] {
  const asks = ledger.asks([needs], sentMs);
  for (const ask of asks) ledger.answered(ask, grant(ask.want, init), sentMs, nowMs);
  return asks;
}

test("a key that is asked for seldom is not leased, nor a limit that admits few at once", () => {
  const needs = needsOf(["big"]);
  want(needs, 2);
  assert.deepEqual(ledger.asks([needs], nowMs), []);
  want(needs);
  assert.deepEqual(
    ledger.asks([needs], nowMs).map(({ want: wanted }) => wanted),
    [3],
  );
  const few = needsOf(["small"]);
  want(few, 100);
  assert.deepEqual(ledger.asks([few], nowMs), []);
});

test("a lease is as large as the demand, up to half of what the limit admits at once, and follows it", () => {
  const needs = needsOf(["big"]);
  want(needs, 200);
  assert.equal(lease(needs, nowMs, { durationMs: 60_000 })[0]?.want, 200);
  const other = needsOf(["other"]);
  want(other, 20_000);
  assert.equal(lease(other, nowMs, { durationMs: 60_000 })[0]?.want, 500);
  // A little is asked for still: a tenth of it, then a few hundredths.
  for (const _ of [1, 2]) {
    nowMs += 900;
    want(needs, 10);
    want(other, 10_000);
    ledger.sweep(nowMs);
  }
  const asks = ledger.asks([], nowMs);
  assert.deepEqual(
    asks.map((ask) => ask.returned?.left ?? ask.want),
    [200, 48],
    "what is too much goes back, and what is still in demand is asked for",
  );
});

test("it ends by its own clock, counted from when the request was sent, and what is left of it goes back", () => {
  const needs = needsOf(["big"]);
  want(needs, 100);
  const sentMs = nowMs;
  const asks = ledger.asks([needs], sentMs);
  nowMs += 400;
  ledger.answered(asks[0]!, grant(100), sentMs, nowMs);
  nowMs = sentMs + 999;
  assert.equal(ledger.take(needs, nowMs), true);
  nowMs = sentMs + 1_000;
  assert.equal(ledger.available(needs[0]!.bucket, nowMs), 0);
  assert.equal(ledger.take(needs, nowMs), false);
  const [back] = ledger.asks([], nowMs);
  assert.deepEqual([back?.want, back?.returned?.left, back?.returned?.lastUseMs], [0, 99, sentMs + 999]);
  assert.deepEqual(ledger.asks([], nowMs), [], "once");
});

test("of several buckets all are spent from, or none", () => {
  const both = needsOf(["big", "other"], 5);
  want(both, 10);
  lease([both[0]!]);
  assert.equal(ledger.take(both, nowMs), false);
  assert.equal(ledger.available(both[0]!.bucket, nowMs), 50);
  lease([both[1]!]);
  assert.equal(ledger.take(both, nowMs), true);
  assert.deepEqual(
    both.map(({ bucket }) => ledger.available(bucket, nowMs)),
    [45, 45],
  );
});

test("the next lease is asked for before the last one is spent or ends", () => {
  const needs = needsOf(["big"]);
  want(needs, 100);
  lease(needs);
  for (let i = 0; i < 49; i++) ledger.take(needs, nowMs);
  assert.equal(due, 0);
  ledger.take(needs, nowMs);
  assert.deepEqual([due, ledger.asks([], nowMs)[0]?.want], [1, 50], "half of it is spent");
  nowMs += 700;
  want(needs, 100);
  ledger.sweep(nowMs);
  assert.equal(ledger.hasDue, false, "one request at a time");

  const other = needsOf(["other"]);
  want(other, 100);
  lease(other);
  nowMs += 800;
  want(other, 100);
  ledger.sweep(nowMs);
  const ask = ledger.asks([], nowMs).find(({ bucket }) => bucket === other[0]?.bucket);
  assert.ok(ask !== undefined && ask.want > 100, "the one that is held soon ends, so it does not count");
  assert.equal(ledger.take(other, nowMs), true, "and is used until then");
});

test("what nobody asks for goes back after a second, not only when its lease ends", () => {
  const needs = needsOf(["big"]);
  want(needs, 10);
  lease(needs, nowMs, { durationMs: 60_000 });
  ledger.sweep(nowMs + 1_000);
  assert.equal(ledger.hasReturns, false);
  ledger.sweep(nowMs + 1_001);
  assert.deepEqual(
    ledger.asks([], nowMs).map(({ returned }) => returned?.left),
    [10],
  );
});

test("when there was less than was wanted, leases wait", () => {
  const needs = needsOf(["big"]);
  want(needs, 100);
  const [ask] = ledger.asks([needs], nowMs);
  ledger.answered(ask!, grant(0, { retryDelayMs: 60 }), nowMs, nowMs);
  nowMs += 59;
  want(needs);
  assert.deepEqual(ledger.asks([needs], nowMs), []);
  nowMs += 1;
  assert.equal(ledger.asks([needs], nowMs).length, 1);
});

test("a limit that changes takes its leases with it, also those still on their way", () => {
  const needs = needsOf(["big"]);
  const other = needsOf(["other"]);
  want(needs, 100);
  want(other, 100);
  lease(needs);
  const [onItsWay] = ledger.asks([other], nowMs);
  index = new LimitIndex([make("big", 500), make("other", 500)], 8n, index);
  assert.equal(ledger.take(needs, nowMs), false);
  ledger.answered(onItsWay!, grant(100), nowMs, nowMs);
  assert.equal(ledger.take(other, nowMs), false);
  ledger.sweep(nowMs);
  const asks = ledger.asks([], nowMs);
  assert.deepEqual(
    asks.map(({ returned }) => returned?.left),
    [100, 100],
  );
  const now = needsOf(["big"]);
  want(now, 100);
  lease(now, nowMs, { revision: 7n });
  assert.equal(ledger.take(now, nowMs), false, "granted by the limit as it was");
});

test("the leases of a deleted limit are not given back, since nobody knows them; those of a paused bucket are, and not used", () => {
  const needs = needsOf(["big"]);
  const other = needsOf(["other"]);
  for (const each of [needs, other]) {
    want(each, 10);
    lease(each);
  }
  index = new LimitIndex([make("other", 1_000)], 8n, index);
  other[0]!.bucket.limit.setPauses(new Map([["", nowMs + 500]]));
  assert.equal(ledger.take(other, nowMs), false);
  ledger.sweep(nowMs);
  assert.deepEqual(
    ledger.asks([], nowMs).map(({ bucket }) => bucket.limit.name),
    ["other"],
  );
  want(other, 10);
  assert.deepEqual(ledger.asks([other], nowMs + 499), []);
  assert.equal(ledger.asks([other], nowMs + 500).length, 1);
});

test("what was not used after all can be spent again, until its lease is given back", () => {
  const needs = needsOf(["big"], 4);
  want(needs, 3);
  lease(needs);
  const spendings: Spending[] = [];
  for (let i = 0; i < 3; i++) assert.equal(ledger.take(needs, nowMs, spendings), true);
  assert.equal(ledger.take(needs, nowMs), false);
  ledger.giveBack(spendings.slice(0, 1));
  const returned = ledger.asks([], nowMs).flatMap((ask) => ask.returned ?? []);
  assert.deepEqual(
    returned.map(({ left }) => left),
    [4],
    "it was used up and was about to go back",
  );
  ledger.giveBack(spendings.slice(1));
  assert.equal(ledger.take(needs, nowMs), false);
});
