import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { tokenRate } from "../../services/ratelimit/core/gcra.ts";
import { capacityOf, type Rule } from "../../services/ratelimit/core/rule.ts";
import { windowRule } from "../../services/ratelimit/core/window.ts";
import { type Regime, World } from "./world.ts";

/** How many random traces of each kind; 1,000,000 takes some minutes. */
const traces = Number(process.env["RATELIMIT_TRACES"] ?? 100_000);

/** Numbers out of one drawn number, so that drawing a step costs fast-check one number and it can still be shrunk. */
class Dice {
  #left: number;

  constructor(drawn: number) {
    this.#left = drawn;
  }

  below(count: number): number {
    const value = this.#left % count;
    this.#left = Math.floor(this.#left / count);
    return value;
  }

  amount(count: number): bigint {
    return BigInt(this.below(count));
  }
}

const scaleUs = 1_000_000n;

function bucketFrom(drawn: number): Rule {
  const dice = new Dice(drawn);
  return tokenRate(1n + dice.amount(7), scaleUs * 1_000n + dice.amount(5), 1n + dice.amount(12));
}

function windowFrom(drawn: number): Rule {
  const dice = new Dice(drawn);
  const exact = windowRule(1n + dice.amount(12), (1n + dice.amount(3)) * scaleUs * 1_000n);
  // Slots as of a large count, at a count that a trace can reach.
  return exact.kind === "window" && dice.below(2) === 1 ? { ...exact, slotUs: exact.windowUs / 7n } : exact;
}

function play(world: World, drawn: number, changes: boolean, ruleFrom: (drawn: number) => Rule): void {
  const dice = new Dice(drawn);
  const does = dice.below(20);
  if (does < 4) return world.pass((dice.amount(40) * scaleUs) / 16n + dice.amount(3));
  if (does < 8) return world.acquire(1n + dice.amount(13));
  if (does < 10) return world.callLease(dice.below(3), dice.amount(13), dice.below(2) === 1);
  if (does < 12) return world.deliver(dice.below(8), dice.below(8) > 0);
  if (does < 15) return world.spend(dice.below(3), 1n + dice.amount(5));
  if (does === 15) return world.settleReservation(dice.below(8), dice.amount(14));
  if (does === 16) return world.settleSpent(dice.below(8), dice.amount(5));
  if (does === 17) return world.crash(dice.below(3));
  if (does === 18) {
    const us = (dice.amount(20) * scaleUs) / 8n;
    return dice.below(2) === 0 ? world.setClockBack(us) : world.setClockForward(us / 8n);
  }
  return changes ? world.change(ruleFrom(dice.below(2 ** 20))) : world.pass(scaleUs / 3n);
}

/** Much is taken and settled in any order, while the bucket is seldom full: where giving back in the wrong place shows. */
function playSettling(world: World, drawn: number, leases: boolean): void {
  const dice = new Dice(drawn);
  const does = dice.below(leases ? 12 : 9);
  if (does < 2) return world.pass((dice.amount(24) * scaleUs) / 16n);
  if (does < 6) return world.acquire(1n + dice.amount(5));
  if (does < 9) return world.settleReservation(dice.below(4), dice.amount(3));
  if (does === 9) return world.spend(0, 1n + dice.amount(6));
  world.callLease(0, 1n + dice.amount(6), dice.below(4) === 1);
  return world.deliver(0, true);
}

function run(drawn: number, steps: readonly number[], ruleFrom: (drawn: number) => Rule): World {
  const dice = new Dice(drawn);
  const changes = dice.below(3) === 0;
  const leaseUs = ((1n + dice.amount(8)) * scaleUs) / 2n;
  const world = new World(ruleFrom(dice.below(2 ** 24)), leaseUs, scaleUs / 2n);
  const plays = dice.below(4);
  for (const step of steps) {
    if (plays < 2) playSettling(world, step, plays === 0);
    else play(world, step, changes, ruleFrom);
  }
  return world;
}

/** What a bucket can refill until a time, in parts of a token that are whole. */
function refilledTokens(regimes: readonly Regime[], fromUs: bigint, untilUs: bigint): number {
  let sum = 0;
  for (const [index, { fromUs: begin, rule }] of regimes.entries()) {
    const end = regimes[index + 1]?.fromUs ?? untilUs;
    const us = (end < untilUs ? end : untilUs) - (begin > fromUs ? begin : fromUs);
    if (us > 0n && rule.kind === "tokens") sum += (Number(us) * Number(rule.refill)) / Number(rule.token);
  }
  return sum;
}

/** The rules in force between two uses; at the moment of a change both. */
function rulesBetween(regimes: readonly Regime[], fromUs: bigint, untilUs: bigint): Rule[] {
  const touched = regimes.filter((regime, index) => {
    return regime.fromUs <= untilUs && (regimes[index + 1]?.fromUs ?? untilUs) >= fromUs;
  });
  return touched.map(({ rule }) => rule);
}

const largest = (numbers: readonly bigint[]): bigint => numbers.reduce((a, b) => (a > b ? a : b));

/** A burst that is raised fills full buckets further. */
const burstAndRaises = (bursts: readonly bigint[]): bigint =>
  bursts.reduce((sum, burst, index) => sum + largest([0n, burst - (bursts[index - 1] ?? burst)]), bursts[0]!);

function assertBucketBound({ uses, regimes }: World): void {
  for (const [first, { atUs: fromUs }] of uses.entries()) {
    let cost = 0;
    for (const later of uses.slice(first)) {
      cost += Number(later.cost);
      const burst = Number(burstAndRaises(rulesBetween(regimes, fromUs, later.atUs).map(capacityOf)));
      const most = burst + refilledTokens(regimes, fromUs, later.atUs);
      // Numbers of a few tokens: their rounding is far below a millionth.
      assert.ok(cost <= most + 1e-6, `${cost} within ${later.atUs - fromUs} us, ${most} allowed`);
    }
  }
}

/** Where rules changed between two uses, the shortest of their windows counts, and the largest count. */
function assertWindowBound({ uses, regimes }: World): void {
  for (const [first, { atUs: fromUs }] of uses.entries()) {
    let cost = 0n;
    for (const later of uses.slice(first)) {
      const between = rulesBetween(regimes, fromUs, later.atUs).filter((rule) => rule.kind === "window");
      if (between.some(({ windowUs }) => later.atUs - fromUs >= windowUs)) break;
      cost += later.cost;
      const count = largest(between.map(capacityOf));
      assert.ok(cost <= count, `${cost} within ${later.atUs - fromUs} us, ${count} allowed`);
    }
  }
}

const steps = fc.array(fc.nat({ max: 2 ** 31 - 1 }), { minLength: 1, maxLength: 60, size: "max" });
const config = fc.nat({ max: 2 ** 31 - 1 });

for (const [name, ruleFrom, assertBound] of [
  ["token bucket: what is used in every interval is at most burst + rate × time", bucketFrom, assertBucketBound],
  ["window: what is used in every window is at most its count", windowFrom, assertWindowBound],
] as const) {
  test(`${name}, whatever crashes, expires, is settled or changed; waits are exact`, () => {
    let used = 0;
    fc.assert(
      fc.property(config, steps, (drawn, drawnSteps) => {
        const world = run(drawn, drawnSteps, ruleFrom);
        assertBound(world);
        used += world.uses.length;
      }),
      { numRuns: traces },
    );
    assert.ok(used > traces, `${used} uses in ${traces} traces are too few to say anything`);
  });
}

test("what was admitted is what was settled, what is reserved and what was lost with its holder, whatever crashes", () => {
  const year = 31_622_400_000_000_000n;
  const slow = (drawn: number): Rule => {
    const dice = new Dice(drawn);
    const count = 1n + dice.amount(40);
    return dice.below(2) === 0 ? tokenRate(1n, year, count) : windowRule(count, year);
  };
  fc.assert(
    fc.property(config, steps, (drawn, drawnSteps) => {
      const dice = new Dice(drawn);
      const world = new World(slow(dice.below(2 ** 20)), ((1n + dice.amount(8)) * scaleUs) / 2n, scaleUs / 2n);
      for (const step of drawnSteps) {
        if (step % 2 === 0) playSettling(world, Math.floor(step / 2), true);
        else play(world, Math.floor(step / 2), false, slow);
      }
      const { counted, known } = world.balance();
      assert.equal(counted, known);
    }),
    { numRuns: traces },
  );
});
