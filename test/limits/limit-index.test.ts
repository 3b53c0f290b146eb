import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { bucketKey as holdersKey } from "#libs/limits/bucket-key.ts";
import { LimitIndex } from "#libs/limits/limit-index.ts";
import { DimensionSchema, LimitSchema } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { AcquisitionSchema } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { bucketKey as arbitersKey } from "../../services/ratelimit/core/bucket-key.ts";
import { tokenRate } from "../../services/ratelimit/core/gcra.ts";
import { LimitSet } from "../../services/ratelimit/core/limit-set.ts";
import { checksOf } from "../../services/ratelimit/core/plan.ts";
import { tokens } from "../ratelimit/running.ts";

const words = fc.constantFrom("a", "b", "c|\\", "");
const names = fc.constantFrom("a", "b", "c");
const labels = fc.array(fc.record({ key: names, value: words }), { maxLength: 4 });
const dimension = fc
  .oneof(
    fc.constant({ kind: { case: "capability" as const, value: true as const } }),
    fc.constant({ kind: { case: "user" as const, value: true as const } }),
    names.map((value) => ({ kind: { case: "label" as const, value } })),
  )
  .map((init) => create(DimensionSchema, init));
const limit = fc
  .record({
    namespace: fc.constantFrom("n", "m"),
    name: names,
    unit: fc.constantFrom("", "llm_tokens"),
    per: fc.array(dimension, { maxLength: 3 }),
    selector: fc.option(
      fc.record({ capabilities: fc.array(names, { maxLength: 2 }), users: fc.array(words, { maxLength: 2 }), labels }),
      { nil: undefined },
    ),
  })
  .map(({ selector, ...init }) => create(LimitSchema, { ...init, kind: tokens(1, 1), ...(selector && { selector }) }));
const acquisition = fc
  .record({
    namespace: fc.constantFrom("n", "m"),
    capability: names,
    user: words,
    labels,
    costs: fc.array(fc.record({ unit: fc.constantFrom("", "llm_tokens"), amount: fc.bigInt({ min: 0n, max: 9n }) }), {
      maxLength: 3,
    }),
    limits: fc.array<string>(names, { maxLength: 3 }),
  })
  .map((init) => create(AcquisitionSchema, init));

test("a holder takes the same costs from the same buckets as the RateLimit service would", () => {
  const limits = fc.uniqueArray(limit, { maxLength: 6, selector: ({ namespace, name }) => `${namespace}/${name}` });
  fc.assert(
    fc.property(limits, acquisition, (all, asked) => {
      const stored = all.map((one, i) => ({ limitId: BigInt(i), rule: tokenRate(1n, 1_000n, 1n), limit: one }));
      const set = new LimitSet(1n, stored);
      const needs = new LimitIndex(all, 1n).needsOf(asked, 0);
      if (asked.limits.some((name) => set.find(asked.namespace, name) === undefined)) {
        assert.equal(needs, undefined);
        return;
      }
      const theirs = checksOf(set, asked).map(({ bucket, cost }) => [bucket.stored.limit.name, bucket.key, cost]);
      const ours = needs?.map(({ bucket, cost }) => [bucket.limit.name, bucket.key, BigInt(cost)]);
      assert.deepEqual(ours, theirs);
    }),
    { numRuns: 3_000 },
  );
});

test("long keys are cut alike", () => {
  const long = fc.string({ unit: "binary", minLength: 200, maxLength: 700 });
  const per = [create(DimensionSchema, { kind: { case: "user", value: true } })];
  fc.assert(
    fc.property(long, (user) => {
      const theirs = arbitersKey(per, { capability: "", user, labels: new Map() });
      assert.equal(holdersKey(per, { capability: "", user, labels: [] }), theirs);
    }),
    { numRuns: 300 },
  );
});

test("a limit that stays as it is keeps its buckets; one that changes or goes is marked", () => {
  const make = (name: string, count: number) =>
    create(LimitSchema, { namespace: "n", name, kind: tokens(count, 1_000) });
  const subject = { namespace: "n", capability: "", user: "", labels: [], costs: [] };
  const before = new LimitIndex([make("a", 1), make("b", 1), make("c", 1)], 1n);
  const [a, b, c] = before.needsOf(subject, 0)!.map(({ bucket }) => bucket);
  const after = new LimitIndex([make("a", 1), make("b", 2)], 2n, before);
  const [a2, b2] = after.needsOf(subject, 0)!.map(({ bucket }) => bucket);
  assert.equal(a2, a);
  assert.notEqual(b2, b);
  assert.deepEqual(
    [a?.limit, b?.limit, c?.limit].map((one) => [one?.isGone, one?.isDeleted]),
    [
      [false, false],
      [true, false],
      [true, true],
    ],
  );
  assert.equal(b2?.limit.revision, 2n);
});
