import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { orderInterval } from "../../services/watchdog/core/order-interval.ts";
import { type Outcome, Pairing, type Timed } from "../../services/watchdog/core/pairing.ts";
import { RankTest } from "../../services/watchdog/core/rank-test.ts";
import { Recent } from "../../services/watchdog/core/recent.ts";
import { type Bet, rankBets, signBets, Wealth } from "../../services/watchdog/core/wealth.ts";
import { coarse, Draws, type Durations, logNormal } from "./draws.ts";

/** How many of the walks ever reach a wealth of 20 in 2,000 steps: one in 20 at most, says Ville. */
function reach20(walks: number, begin: (walk: number) => () => number): number {
  let reached = 0;
  for (let walk = 0; walk < walks; walk++) {
    const step = begin(walk);
    for (let i = 0; i < 2_000; i++) {
      if (step() < 20) continue;
      reached++;
      break;
    }
  }
  return reached;
}

/** Three deviations above one in 20. */
const allowed = (walks: number): number => walks / 20 + 3 * Math.sqrt(walks * 0.05 * 0.95);

for (const [name, bets, draw] of [
  ["signs", signBets, (draws: Draws) => (draws.uniform() < 0.5 ? 0 : 1)],
  ["ranks", rankBets, (draws: Draws) => draws.uniform()],
] as [string, readonly Bet[], (draws: Draws) => number][]) {
  test(`a fair game of ${name} makes 1 into 20 one time in 20 at most, and does so at times`, (t) => {
    const draws = new Draws(3);
    const reached = reach20(1_000, () => {
      const wealth = new Wealth(bets);
      return () => {
        wealth.bet(draw(draws));
        return wealth.total;
      };
    });
    t.diagnostic(`${reached} of 1,000`);
    assert.ok(reached <= allowed(1_000) && reached >= 5, String(reached));
  });
}

test("ranks among a frozen baseline and what came since are fair, however few it has and however many tie", (t) => {
  const cases: [string, number, Durations][] = [
    ["30 of a log-normal", 30, logNormal(1)],
    ["300 of a log-normal", 300, logNormal(1)],
    ["100 whole milliseconds", 100, coarse],
    ["100 failures and successes", 100, (draws) => (draws.uniform() < 0.05 ? 1 : 0)],
  ];
  for (const [name, size, values] of cases) {
    const draws = new Draws(4);
    const reached = reach20(400, (walk) => {
      const ranks = new RankTest(
        Array.from({ length: size }, () => values(draws, 0)),
        walk,
      );
      return () => {
        ranks.observe(values(draws, 0));
        return ranks.eValue;
      };
    });
    t.diagnostic(`${name}: ${reached} of 400`);
    assert.ok(reached <= allowed(400), `${name}: ${reached}`);
  }
});

test("the interval of a median holds it at every length at once, 19 times in 20", () => {
  const draws = new Draws(5);
  let missed = 0;
  for (let walk = 0; walk < 1_000; walk++) {
    const recent = new Recent();
    for (let i = 0; i < 600; i++) {
      recent.add(draws.normal());
      if (i % 10 !== 0) continue;
      const { low, high } = recent.medianWithInterval(0.05);
      if (low === undefined || high === undefined || (low <= 0 && high >= 0)) continue;
      missed++;
      break;
    }
  }
  assert.ok(missed <= allowed(1_000), String(missed));
});

test("the interval closes around the median as values come", () => {
  const width = (n: number): number => {
    const draws = new Draws(6);
    const sorted = Float64Array.from({ length: n }, () => draws.normal()).sort();
    const { low, high } = orderInterval(sorted, 0.05);
    return high! - low!;
  };
  assert.equal(orderInterval(new Float64Array(5), 0.05).low, undefined);
  assert.ok(width(1_000) < 0.5 && width(1_000) < width(100) && width(100) < width(20));
});

test("what neither gains nor loses leaves the capital as it is", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 60 }), (ps) => {
      const wealth = new Wealth(rankBets);
      for (const p of ps) {
        const before = wealth.total;
        // The mean over a uniform p: each of the four cuts' steps by its width.
        const edges = [0, 0.02, 0.05, 0.2, 0.5, 1];
        const mean = edges.slice(1).reduce((sum, edge, i) => {
          const copy = new Wealth(rankBets, wealth.toJSON());
          copy.bet(edge);
          return sum + (edge - edges[i]!) * copy.total;
        }, 0);
        assert.ok(Math.abs(mean - before) < 1e-9 * before);
        wealth.bet(p);
      }
    }),
    { numRuns: 100 },
  );
});

interface Execution extends Timed {
  readonly side: "canary" | "control";
}

const executions = fc.array(
  fc.record({ side: fc.constantFrom<"canary" | "control">("canary", "control"), at: fc.integer({ min: 0, max: 50 }) }),
  { maxLength: 400 },
);

/** The numbers of the partners, [canary, control]; the duration of an execution is its number. */
function pairsOf(all: readonly Execution[], pairing = new Pairing()): [number, number][] {
  const pairs: [number, number][] = [];
  const onPair = (a: Outcome, b: Outcome): void => void pairs.push([a.durationMs, b.durationMs]);
  for (const execution of all) {
    if (execution.side === "canary") pairing.addCanary(execution, onPair);
    else pairing.addControl(execution, onPair);
  }
  return pairs;
}

test("partners are of both sides, used once, near in time, and do not depend on durations; a restart changes nothing", () => {
  fc.assert(
    fc.property(executions, fc.nat(400), (drawn, cut) => {
      const all = drawn.map((execution, i) => ({ ...execution, durationMs: i, failed: false }));
      const pairs = pairsOf(all);
      assert.equal(new Set(pairs.flat()).size, 2 * pairs.length);
      for (const [canary, control] of pairs) {
        assert.equal(all[canary]!.side, "canary");
        assert.equal(all[control]!.side, "control");
        const [from, to] = [all[canary]!.at, all[control]!.at].toSorted((a, b) => a - b);
        const between = all.filter(({ side, at }, i) => side === "control" && i <= canary && at > from! && at < to!);
        assert.ok(between.length < 16, `${between.length} of the control lay between`);
      }
      const pairing = new Pairing();
      const first = pairsOf(all.slice(0, cut), pairing);
      const restored = new Pairing(JSON.parse(JSON.stringify(pairing.toJSON())) as ReturnType<Pairing["toJSON"]>);
      assert.deepEqual([...first, ...pairsOf(all.slice(cut), restored)], pairs);
    }),
    { numRuns: 300 },
  );
});

test("the partner is the nearest that has none, and later ones are waited for", () => {
  const at = (side: Execution["side"], time: number): Omit<Execution, "durationMs"> => ({
    side,
    at: time,
    failed: false,
  });
  const all = [
    at("canary", 10),
    at("control", 1),
    at("control", 9),
    at("control", 12),
    at("canary", 9),
    at("canary", 40),
  ];
  assert.deepEqual(pairsOf(all.map((execution, i) => ({ ...execution, durationMs: i }))), [
    [0, 2],
    [4, 3],
  ]);
});
