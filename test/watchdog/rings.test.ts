import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Rings } from "../../services/watchdog/core/rings.ts";
import type { Sample } from "../../services/watchdog/core/sample.ts";
import { ringCapacity, SampleRing } from "../../services/watchdog/core/sample-ring.ts";
import { isEarlier } from "../../services/watchdog/core/version-order.ts";

const sampleOf = (durationMs: number, failed = false, subjectId = 1): Sample => ({
  subjectId,
  durationMs,
  failed,
  memoryBeforeBytes: 1,
  memoryAfterBytes: 2,
  heapAfterCollectionBytes: 3,
});

test("a ring holds the last 1,000 samples, oldest first", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 3 * ringCapacity }), (count) => {
      const ring = new SampleRing();
      for (let i = 0; i < count; i++) ring.push(sampleOf(i, i % 3 === 0, i));
      const kept = [...ring.samples()];
      const first = Math.max(0, count - ringCapacity);
      assert.equal(ring.size, count - first);
      assert.deepEqual(
        kept,
        Array.from({ length: count - first }, (_, i) => sampleOf(first + i, (first + i) % 3 === 0, first + i)),
      );
    }),
    { numRuns: 60 },
  );
});

test("versions of numbers are ordered by them, others by which was seen first", () => {
  const seen = (version: string, firstSeen: number) => ({ version, firstSeen });
  assert.ok(isEarlier(seen("1.9", 2), seen("v1.10", 1)));
  assert.ok(!isEarlier(seen("1.10", 1), seen("1.9", 2)));
  assert.ok(isEarlier(seen("f00d", 1), seen("beef", 2)));
  assert.ok(isEarlier(seen("1.0", 1), seen("1.0.0", 2)));
});

test("beyond the limits those that were touched longest ago are forgotten", () => {
  const rings = new Rings({ maxAgents: 10, maxVersions: 10 });
  for (let i = 0; i < 1_000; i++) {
    const subject = { namespace: "n", agentId: `a${i}`, name: "x", version: `${i}`, capability: "c" };
    rings.push(subject, sampleOf(1, false, i));
  }
  assert.ok(rings.agentCount <= 10 && rings.versionCount <= 10);
  assert.ok(rings.agent("n", "a999") !== undefined && rings.agent("n", "a0") === undefined);
  assert.ok(rings.group("n", "x", "c")!.versions.has("999"));
});
