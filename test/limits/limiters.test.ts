import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Limiter } from "#libs/limits/limiter.ts";
import { SlidingWindowLimiter } from "#libs/limits/sliding-window-limiter.ts";
import { TokenBucketLimiter } from "#libs/limits/token-bucket-limiter.ts";

class Time {
  ms = 0;
  monotonic(): number {
    return this.ms;
  }
}

interface Use {
  readonly atMs: number;
  readonly cost: number;
}

// Parts of a millisecond that a double holds exactly, finer than the microsecond in which limiters count.
const stepMs = fc.oneof(
  fc.nat({ max: 4_096 }).map((n) => n / 1_024),
  fc.nat({ max: 8 }).map((n) => n / 1_024),
  fc.nat({ max: 300 }),
  fc.constant(0),
  fc.constantFrom(1_000, 60_000),
);
const steps = fc.array(fc.record({ stepMs, cost: fc.integer({ min: 1, max: 5 }), wait: fc.boolean() }), {
  minLength: 1,
  maxLength: 60,
});
const period = fc.oneof(
  fc.integer({ min: 1, max: 30 }).map((us) => us / 1_000),
  fc.integer({ min: 1, max: 2_000 }),
  fc.integer({ min: 1, max: 2_000_000 }).map((us) => us / 1_000),
);

/** Asks a limiter at random times, and again at the time it states and a millisecond before it. */
function drive(time: Time, limiter: Limiter, trace: readonly { stepMs: number; cost: number; wait: boolean }[]): Use[] {
  const uses: Use[] = [];
  const ask = (cost: number): boolean => {
    const waitMs = limiter.waitTime(cost);
    const allowed = limiter.allow(cost);
    assert.equal(allowed, waitMs === 0, "allow and waitTime agree");
    if (allowed) uses.push({ atMs: time.ms, cost });
    return allowed;
  };
  for (const { stepMs: forMs, cost, wait } of trace) {
    time.ms += forMs;
    if (ask(cost) || !wait) continue;
    const waitMs = limiter.waitTime(cost);
    if (waitMs === Infinity) continue;
    assert.ok(Number.isInteger(waitMs) && waitMs >= 1);
    time.ms += waitMs - 1;
    assert.equal(ask(cost), false, "not a millisecond before the stated time");
    time.ms += 1;
    assert.equal(ask(cost), true, "at the stated time");
  }
  return uses;
}

interface Bucket {
  readonly calls: number;
  readonly periodMs: number;
  readonly burst: number;
  readonly trace: readonly { stepMs: number; cost: number; wait: boolean }[];
}
const buckets: fc.Arbitrary<Bucket> = fc.oneof(
  fc.record({
    calls: fc.integer({ min: 1, max: 50 }),
    periodMs: period,
    burst: fc.integer({ min: 1, max: 20 }),
    trace: steps,
  }),
  // A token a microsecond or so, asked for between microseconds.
  fc.record({
    calls: fc.integer({ min: 1, max: 3 }),
    periodMs: fc.constantFrom(0.001, 0.002),
    burst: fc.integer({ min: 1, max: 3 }),
    trace: fc.array(
      fc.record({ stepMs: fc.nat({ max: 4 }).map((n) => n / 1_024), cost: fc.constant(1), wait: fc.constant(false) }),
      { minLength: 5, maxLength: 30 },
    ),
  }),
);

test("a token bucket admits at most burst + rate · t in every interval, and exactly at the stated time", () => {
  fc.assert(
    fc.property(buckets, ({ calls, periodMs, burst, trace }) => {
      const time = new Time();
      const uses = drive(time, new TokenBucketLimiter({ calls, periodMs, burst, clock: time }), trace);
      const periodUs = BigInt(Math.round(periodMs * 1_000));
      for (const [i, from] of uses.entries()) {
        let sum = 0;
        for (const to of uses.slice(i)) {
          sum += to.cost;
          // In units of 1/1,024 ms, where times are whole, and without division.
          const ticks = BigInt((to.atMs - from.atMs) * 1_024);
          const most = BigInt(burst) * periodUs * 1_024n + BigInt(calls) * ticks * 1_000n;
          assert.ok(BigInt(sum) * periodUs * 1_024n <= most, `${sum} within ${to.atMs - from.atMs} ms`);
        }
      }
    }),
    { numRuns: 3_000 },
  );
});

test("a sliding window admits at most its count in every window, and exactly at the stated time", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), period, steps, (calls, periodMs, trace) => {
      const time = new Time();
      const uses = drive(time, new SlidingWindowLimiter({ calls, periodMs, clock: time }), trace);
      assertWindows(uses, calls, periodMs);
    }),
    { numRuns: 3_000 },
  );
});

// Its parts are of 24 ms and 244 ms.
const longPeriod = fc.constantFrom(100_000, 1_000_000);

test("a large window counts in parts of it, and still admits no more in every window", () => {
  fc.assert(
    fc.property(fc.integer({ min: 4_097, max: 6_000 }), longPeriod, steps, (calls, periodMs, trace) => {
      const time = new Time();
      const limiter = new SlidingWindowLimiter({ calls, periodMs, clock: time });
      const uses = drive(
        time,
        limiter,
        trace.map((one) => ({ ...one, cost: one.cost * 400 })),
      );
      assertWindows(uses, calls, periodMs);
    }),
    { numRuns: 1_000 },
  );
});

function assertWindows(uses: readonly Use[], calls: number, periodMs: number): void {
  for (const [i, from] of uses.entries()) {
    const inside = uses
      .slice(i)
      .filter(({ atMs }) => Math.round((atMs - from.atMs) * 1_024_000) < Math.round(periodMs * 1_024_000));
    const sum = inside.reduce((total, { cost }) => total + cost, 0);
    assert.ok(sum <= calls, `${sum} of ${calls} within ${periodMs} ms`);
  }
}

test("a large window forgets nothing and runs out of no room when every call comes by itself", () => {
  const time = new Time();
  const limiter = new SlidingWindowLimiter({ calls: 10_000, periodMs: 1_000, clock: time });
  let admitted = 0;
  for (; time.ms < 3_000; time.ms += 1 / 16) if (limiter.allow()) admitted++;
  // 16,000 ask each second.
  assert.ok(admitted <= 30_000 && admitted > 29_900, String(admitted));
});

test("what could never pass is known for that, and what makes no limit is refused with a sentence", () => {
  const time = new Time();
  assert.equal(new TokenBucketLimiter({ calls: 1, periodMs: 1, burst: 3, clock: time }).waitTime(4), Infinity);
  assert.equal(new SlidingWindowLimiter({ calls: 3, periodMs: 1, clock: time }).waitTime(4), Infinity);
  const make = (calls: number, periodMs: number, burst?: number) => () =>
    new TokenBucketLimiter({ calls, periodMs, burst });
  assert.throws(make(0, 1), /calls must be a whole number from 1/);
  assert.throws(make(1, 0), /periodMs must be from 0.001/);
  assert.throws(make(1, 1, 0.5), /burst must be a whole number/);
  assert.throws(make(999_983, 366 * 86_400_000, 999_983), /cannot be counted exactly: choose a rounder number/);
  assert.throws(() => new SlidingWindowLimiter({ calls: 1, periodMs: NaN }), RangeError);
  assert.throws(() => new SlidingWindowLimiter({ calls: 1, periodMs: 1 }).allow(0), /cost must be a whole number/);
});
