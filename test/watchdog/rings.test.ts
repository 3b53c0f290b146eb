import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { Rings } from "../../services/watchdog/core/rings.ts";
import type { Sample, Subject } from "../../services/watchdog/core/sample.ts";
import { ringCapacity, SampleRing } from "../../services/watchdog/core/sample-ring.ts";
import { isBad, judgeAgent, judgeVersion } from "../../services/watchdog/core/verdicts.ts";
import { isEarlier } from "../../services/watchdog/core/version-order.ts";

const { FAILING, SLOWER, HEALTHY } = VerdictKind;

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

interface Executing {
  readonly agentId: string;
  readonly version: string;
  readonly durationMs: number;
  readonly failures?: number;
  readonly name?: string;
}

class World {
  readonly rings = new Rings({ maxAgents: 100, maxVersions: 100 });
  readonly #subjects: Subject[] = [];

  /** The first `failures` executions of `count` fail. */
  execute(agentId: string, version: string, count: number, durationMs: number, failures = 0, name = "greeter"): void {
    this.together(count, [{ agentId, version, durationMs, failures, name }]);
  }

  /** One execution of each, then the next of each. */
  together(count: number, all: Executing[]): void {
    const subjects = all.map(({ agentId, version, name = "greeter" }) => {
      const subject = { namespace: "default", agentId, name, version, capability: "greet" };
      return { subject, id: this.#subjects.push(subject) };
    });
    for (let i = 0; i < count; i++) {
      for (const [index, { durationMs, failures = 0 }] of all.entries()) {
        const { subject, id } = subjects[index]!;
        this.rings.push(subject, sampleOf(durationMs, i < failures, id));
      }
    }
  }

  judge(agentId: string) {
    return judgeAgent(this.rings.agent("default", agentId)!, this.rings, (id) => this.#subjects[id - 1]);
  }

  kinds(): Record<string, VerdictKind> {
    const { versions } = this.rings.group("default", "greeter", "greet")!;
    return Object.fromEntries([...versions].map(([version, ring]) => [version, judgeVersion(ring).kind]));
  }
}

test("a faster new version makes the old one no slower; equal ones are both healthy", () => {
  const world = new World();
  world.execute("a", "1", 200, 10);
  world.execute("b", "2", 200, 1);
  assert.deepEqual(world.kinds(), { "1": HEALTHY, "2": HEALTHY });
});

test("a slow or failing new version is found, whichever was reported first, and the old one is not blamed", () => {
  const slow = new World();
  slow.execute("b", "2", 50, 20);
  slow.execute("a", "1", 50, 10);
  assert.deepEqual(slow.kinds(), { "1": HEALTHY, "2": SLOWER });
  assert.equal(slow.judge("b").shouldRollback, true);
  assert.equal(slow.judge("a").shouldRollback, false);

  const failing = new World();
  failing.execute("a", "1", 100, 10, 2);
  const failures = { agentId: "b", version: "2", durationMs: 10, failures: 30 };
  failing.together(40, [{ agentId: "a", version: "1", durationMs: 10 }, failures]);
  assert.deepEqual(failing.kinds(), { "1": HEALTHY, "2": FAILING });
  const { shouldRollback, reason } = failing.judge("b");
  assert.equal(shouldRollback, true);
  assert.match(reason, /^Version 2 of greeter failed 100 % of its newest executions, version 1 0 %, by 1\d pairs/);
});

test("what was executed before it is the baseline of a version that executes alone", () => {
  const world = new World();
  world.execute("a", "1", 300, 10);
  world.execute("b", "2", 110, 20);
  assert.deepEqual(world.kinds(), { "1": HEALTHY, "2": SLOWER });
  assert.match(world.judge("b").reason, /takes 2 times .* as version 1, by \d+ executions beside its earlier ones/);
});

test("when all versions fail alike it is nobody's version", () => {
  const world = new World();
  const failing = { durationMs: 10, failures: 80 };
  world.together(100, [
    { agentId: "a", version: "1", ...failing },
    { agentId: "b", version: "2", ...failing },
  ]);
  assert.equal(world.kinds()["2"], HEALTHY);
  assert.equal(world.judge("b").shouldRollback, false);
});

test("one agent that fails beside its fellows is told from its version", () => {
  const world = new World();
  for (const agentId of ["a", "b", "c", "d"]) world.execute(agentId, "1", 50, 10);
  world.execute("bad", "1", 50, 10, 50);
  const { shouldRollback, reason, verdict } = world.judge("bad");
  assert.equal(shouldRollback, false);
  assert.equal(verdict.kind, FAILING);
  assert.equal(verdict.agentId, "bad");
  assert.match(reason, /It is agent bad, not version 1/);
  assert.ok(!isBad(world.judge("a").verdict.kind));
});

test("an agent without a name is judged alone, and makes no version", () => {
  const world = new World();
  world.execute("raw", "", 30, 5, 20, "");
  world.execute("other", "", 300, 5, 0, "");
  assert.equal(world.judge("raw").shouldRollback, true);
  assert.equal(world.judge("other").shouldRollback, false);
  assert.equal(world.rings.versionCount, 0);
});

test("an agent is judged by the version it executed with last", () => {
  const world = new World();
  world.execute("a", "1", 50, 10, 50);
  world.execute("a", "2", 50, 10);
  const { shouldRollback, verdict } = world.judge("a");
  assert.equal(shouldRollback, false);
  assert.equal(verdict.version, "2");
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
