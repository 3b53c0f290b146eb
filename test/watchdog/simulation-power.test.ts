import assert from "node:assert/strict";
import { test } from "node:test";
import { type Change, delays } from "./rollouts.ts";

const cases: readonly (Change & { readonly name: string; readonly atMost: number })[] = [
  { name: "2 times slower, beside the control", slower: 2, atMost: 20 },
  { name: "1.5 times slower, beside the control", slower: 1.5, atMost: 50 },
  { name: "1.5 times slower from the 1,001st on, beside the control", slower: 1.5, at: 1_000, atMost: 100 },
  { name: "failing 11 % instead of 1 %, beside the control", failureShares: [0.01, 0.11], atMost: 300 },
  { name: "failing 20 % instead of 0 %, beside the control", failureShares: [0, 0.2], atMost: 120 },
  { name: "2 times slower than a baseline of 500", slower: 2, frozen: 500, atMost: 20 },
  { name: "1.5 times slower than a baseline of 500", slower: 1.5, frozen: 500, atMost: 50 },
  { name: "2 times slower than a baseline of 30", slower: 2, frozen: 30, atMost: 40 },
  { name: "1.5 times slower than a baseline, from the 1,001st on", slower: 1.5, frozen: 500, at: 1_000, atMost: 100 },
  { name: "failing 11 % instead of a baseline's 1 %", failureShares: [0.01, 0.11], frozen: 500, atMost: 300 },
];

for (const { name, atMost, ...change } of cases) {
  test(`${name}: found, at the median, after ${atMost} executions at most`, (t) => {
    const { median, p90 } = delays(change, 400);
    t.diagnostic(`median ${median}, nine of ten within ${p90}`);
    assert.ok(median <= atMost, `${median}`);
  });
}
