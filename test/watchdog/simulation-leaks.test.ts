import assert from "node:assert/strict";
import { test } from "node:test";
import { harmless, heapOf, leaking, leaksFound } from "./memories.ts";

const MiB = 2 ** 20;

test("what is no leak is called one in 1 % of the agents at most, in 1,000 executions and in 3,000", (t) => {
  const processes = 200;
  for (const [name, process] of Object.entries(harmless)) {
    const found = leaksFound(process, processes, 3_000);
    t.diagnostic(`${name}: ${found.length} of ${processes}`);
    assert.ok(found.length <= 0.01 * processes, `${name}: ${found.length}, after ${found.join(", ")}`);
  }
});

test("1 KiB to 1 MiB an execution are found, the sooner the more", (t) => {
  const cases = [
    { kib: 1, level: 64 * MiB, atMost: 80_000 },
    { kib: 1, level: 20 * MiB, atMost: 80_000 },
    { kib: 4, level: 64 * MiB, atMost: 20_000 },
    { kib: 16, level: 64 * MiB, atMost: 5_000 },
    { kib: 64, level: 64 * MiB, atMost: 1_200 },
    { kib: 256, level: 64 * MiB, atMost: 1_000 },
    { kib: 1_024, level: 64 * MiB, atMost: 500 },
  ];
  for (const { kib, level, atMost } of cases) {
    const found = leaksFound(leaking(kib * 1_024, level), 100, 100_000);
    const [median, p90] = [found[50], found[90]];
    t.diagnostic(`${kib} KiB an execution from ${level / MiB} MiB on: median ${median}, nine of ten within ${p90}`);
    assert.equal(found.length, 100);
    assert.ok(median! <= atMost);
  }
});

test("what is not worth it is none: half a KiB an execution", () => {
  assert.equal(leaksFound(leaking(512, 64 * MiB), 50, 20_000).length, 0);
});

test("resident memory that climbs is no leak while the heap stays as it is, and one when that grows too", (t) => {
  const climbing = leaking(64 * 1_024, 64 * MiB);
  assert.equal(leaksFound(climbing, 100, 3_000).length, 100, "nothing contradicts it");
  assert.equal(leaksFound(climbing, 100, 5_000, { heap: heapOf(0) }).length, 0);
  const found = leaksFound(climbing, 100, 5_000, { heap: heapOf(48 * 1_024) });
  t.diagnostic(`48 KiB an execution of the heap: median ${found[50]}, nine of ten within ${found[90]}`);
  assert.equal(found.length, 100);
  assert.ok(found[50]! <= 3_000);
});
