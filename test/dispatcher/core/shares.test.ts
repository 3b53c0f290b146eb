import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MatchedSession } from "../../../services/dispatcher/core/matched-session.ts";
import { Matcher } from "../../../services/dispatcher/core/matcher.ts";

const session = (version: string, weight: number, slots: number, zone = ""): MatchedSession => ({
  namespace: "n",
  versionName: `agent\n${version}`,
  weight,
  slots,
  labels: new Map([["zone", zone]]),
  capabilities: new Map([["a", 0]]),
  taken: new Map(),
  takenInAll: 0,
});

/** Steps of equal length. */
const even = () => 0.5;

const weights = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 2, maxLength: 4 });

test("while all versions have free slots, each has its share after any number of tasks", () => {
  fc.assert(
    fc.property(weights, fc.integer({ min: 1, max: 2_000 }), (all, tasks) => {
      const matcher = new Matcher<MatchedSession>(even);
      const versions = all.map((weight, index) => session(String(index), weight, 10_000));
      for (const one of versions) matcher.add(one);
      for (let i = 0; i < tasks; i++) assert.ok(matcher.take("n", "a", []));
      const total = all.reduce((sum, weight) => sum + weight, 0);
      for (const { weight, takenInAll } of versions) {
        const share = (tasks * weight) / total;
        assert.ok(Math.abs(takenInAll - share) <= all.length, `${takenInAll} of ${share} for ${weight} of ${total}`);
      }
    }),
  );
});

const act = fc.oneof(
  { weight: 5, arbitrary: fc.constant("take" as const) },
  { weight: 4, arbitrary: fc.nat() },
  { weight: 1, arbitrary: fc.constant("give back" as const) },
);

test("however the slots of the largest version are taken, no smaller one gets more than its share beside it", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 49 }), { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 8 }),
      fc.array(act, { maxLength: 400 }),
      (small, slots, acts) => {
        const matcher = new Matcher<MatchedSession>(even, () => 0);
        const largest = session("large", 50, slots);
        const others = small.map((weight, index) => session(String(index), weight, slots));
        const served = new Map<MatchedSession, number>();
        const running: MatchedSession[] = [];
        for (const one of [largest, ...others]) matcher.add(one);
        const add = (one: MatchedSession, by: number) => served.set(one, (served.get(one) ?? 0) + by);
        for (const one of acts) {
          if (typeof one === "number") {
            const [ended] = running.splice(one % Math.max(1, running.length), 1);
            if (ended) matcher.release(ended, "a");
            continue;
          }
          const isFree = largest.takenInAll < slots;
          const taken = matcher.take("n", "a", []);
          if (isFree) assert.ok(taken, "the largest is never held back");
          if (taken === undefined) continue;
          if (one === "give back") {
            matcher.giveBack(taken, "a");
            continue;
          }
          add(taken, 1);
          running.push(taken);
          for (const other of others) {
            const most = ((served.get(largest) ?? 0) * other.weight) / largest.weight + 1;
            assert.ok((served.get(other) ?? 0) <= most + 1e-9, `${served.get(other)} of ${most}`);
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("a version past its share takes what the larger one cannot do, or has not begun anything for a second", () => {
  let nowMs = 0;
  const matcher = new Matcher<MatchedSession>(even, () => nowMs);
  const [large, small] = [session("1", 90, 1, "x"), session("2", 10, 20, "y")];
  matcher.add(large);
  matcher.add(small);
  assert.equal(matcher.take("n", "a", []), large);
  assert.equal(matcher.take("n", "a", []), small, "its first");
  assert.equal(matcher.take("n", "a", []), undefined);
  assert.equal(matcher.hasFree("n", "a"), false);
  assert.equal(matcher.take("n", "a", [["zone", "y"]]), small, "only it has the label");
  nowMs = 1_001;
  assert.equal(matcher.take("n", "a", []), small);
  assert.equal(matcher.take("n", "a", []), small);
  matcher.release(large, "a");
  assert.equal(matcher.take("n", "a", []), large);
  nowMs = 1_500;
  assert.equal(matcher.take("n", "a", []), undefined, "it begins tasks again");
  large.slots = 0;
  matcher.changed(large);
  assert.equal(matcher.take("n", "a", []), small, "the other takes no work");
});

test("nobody saves up: what a version could not take while its slots were taken it does not get afterwards", () => {
  for (const weight of [10, 50]) {
    const matcher = new Matcher<MatchedSession>(even, () => 0);
    const [busy, other] = [session("1", weight, 1), session("2", 50, 1_000)];
    matcher.add(busy);
    matcher.add(other);
    for (let i = 0; i < 500; i++) assert.ok(matcher.take("n", "a", []));
    busy.slots = 1_000;
    matcher.changed(busy);
    const before = other.takenInAll;
    for (let i = 0; i < 60; i++) assert.ok(matcher.take("n", "a", []));
    const share = (60 * 50) / (50 + weight);
    assert.ok(Math.abs(other.takenInAll - before - share) <= 2, `${other.takenInAll - before} of ${share}`);
  }
});

test("which tasks a version gets is left to chance: it has its share of every tenth one too", () => {
  const matcher = new Matcher<MatchedSession>();
  const [old, fresh] = [session("1", 90, 100_000), session("2", 10, 100_000)];
  matcher.add(old);
  matcher.add(fresh);
  const got = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 20_000; i++) if (matcher.take("n", "a", []) === fresh) got[i % 10]!++;
  // 200 each, with a standard deviation of at most 13.
  assert.ok(Math.min(...got) > 130 && Math.max(...got) < 270, String(got));
  assert.ok(Math.abs(fresh.takenInAll - 2_000) < 150, String(fresh.takenInAll));
});
