import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Bucket, freshBucket as fullBucket } from "../../services/ratelimit/core/bucket.ts";
import { maxCapacity, spentAt, tokenRate, type TokenRate } from "../../services/ratelimit/core/gcra.ts";
import { remaining, resetUs as fullInUs, take, waitUs } from "../../services/ratelimit/core/rule.ts";

const runs = Number(process.env["PROPERTY_RUNS"] ?? 2_000);
const startUs = 1_800_000_000_000_000n;

const rates = fc
  .record({
    tokens: fc.oneof(fc.bigInt(1n, 100n), fc.bigInt(1n, 10n ** 12n)),
    periodNs: fc.oneof(
      fc.constantFrom(1_000_000n, 1_000_000_000n, 60_000_000_000n, 86_400_000_000_000n),
      fc.bigInt(1_000_000n, 31_622_400_000_000_000n),
    ),
    burst: fc.oneof(fc.bigInt(1n, 20n), fc.bigInt(1n, 10n ** 12n)),
  })
  .map(({ tokens, periodNs, burst }) => ({ tokens, periodNs, burst, rate: tokenRate(tokens, periodNs, burst) }))
  .filter(({ rate }) => rate.capacity <= maxCapacity);

/** Costs as shares of the burst, and pauses as shares of the time of a full refill: so that both matter at every scale. */
const steps = fc.array(
  fc.record({
    share: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1.1, noNaN: true })),
    pause: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 0.6, noNaN: true }), fc.constant(-0.1)),
  }),
  { minLength: 1, maxLength: 40 },
);

const allowed = (bucket: Bucket, rate: TokenRate, cost: bigint, nowUs: bigint) =>
  waitUs(bucket, rate, cost, nowUs) === 0n;
const part = (whole: bigint, share: number) => BigInt(Math.round(Number(whole) * share));

test("in every interval the admitted cost is at most burst + rate × time", () => {
  fc.assert(
    fc.property(rates, steps, ({ tokens, periodNs, burst, rate }, trace) => {
      let bucket = fullBucket;
      let nowUs = startUs;
      const admitted: { atUs: bigint; cost: bigint }[] = [];
      for (const { share, pause } of trace) {
        nowUs += part(fullInUs({ ...fullBucket, spent: rate.capacity }, rate, 0n), pause);
        const cost = 1n + part(burst - 1n, share);
        if (!allowed(bucket, rate, cost, nowUs)) continue;
        bucket = take(bucket, rate, cost, nowUs);
        admitted.push({ atUs: bucket.atUs, cost });
      }
      for (const [first, { atUs: fromUs }] of admitted.entries()) {
        let cost = 0n;
        for (const later of admitted.slice(first)) {
          cost += later.cost;
          // cost ≤ burst + tokens × time / period, without a division.
          assert.ok((cost - burst) * periodNs <= tokens * (later.atUs - fromUs) * 1_000n);
        }
      }
    }),
    { numRuns: runs },
  );
});

test("a retry at the stated wait is admitted, and a microsecond earlier it is not", () => {
  fc.assert(
    fc.property(rates, steps, ({ burst, rate }, trace) => {
      let bucket = fullBucket;
      let nowUs = startUs;
      for (const { share, pause } of trace) {
        nowUs += part(fullInUs({ ...fullBucket, spent: rate.capacity }, rate, 0n), pause);
        const cost = 1n + part(burst - 1n, share);
        const wait = waitUs(bucket, rate, cost, nowUs);
        if (cost > burst) assert.equal(wait, undefined);
        if (wait === undefined) continue;
        if (wait > 0n) assert.ok(!allowed(bucket, rate, cost, nowUs + wait - 1n));
        nowUs += wait;
        assert.ok(allowed(bucket, rate, cost, nowUs));
        bucket = take(bucket, rate, cost, nowUs);
      }
    }),
    { numRuns: runs },
  );
});

test("a full bucket gives its burst in single tokens, whatever does not divide, and not one more", () => {
  fc.assert(
    fc.property(
      fc.bigInt(1n, 10n ** 12n),
      fc.bigInt(1_000_000n, 10n ** 15n),
      fc.integer({ min: 1, max: 50 }),
      (tokens, periodNs, burst) => {
        const rate = tokenRate(tokens, periodNs, BigInt(burst));
        let bucket = fullBucket;
        for (let i = 0; i < burst; i++) {
          assert.equal(remaining(bucket, rate, startUs), BigInt(burst - i));
          assert.ok(allowed(bucket, rate, 1n, startUs));
          bucket = take(bucket, rate, 1n, startUs);
        }
        assert.ok(!allowed(bucket, rate, 1n, startUs));
      },
    ),
    { numRuns: runs },
  );
});

test("a clock that is set back refills nothing until it has caught up", () => {
  const rate = tokenRate(1n, 1_000_000_000n, 2n);
  const bucket = take(fullBucket, rate, 2n, startUs);
  assert.equal(spentAt(bucket, rate, startUs - 3_600_000_000n), rate.capacity);
  assert.equal(waitUs(bucket, rate, 1n, startUs - 3_600_000_000n), 3_601_000_000n);
});
