import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { upperTail, upwardTrend } from "../../services/watchdog/core/mann-kendall.ts";
import {
  type Baseline,
  capabilityAlpha,
  type Observation,
  type TrialState,
  VersionTrial,
} from "../../services/watchdog/core/trial.ts";
import { Draws, logNormal } from "./draws.ts";
import { execution } from "./rollouts.ts";

const { FAILING, HEALTHY, LEAKING, SLOWER, UNDECIDED } = VerdictKind;
const baseline: Baseline = {
  version: "1",
  durationsMs: Array.from({ length: 200 }, (_, i) => 9 + i / 100),
  executions: 202,
  failures: 2,
};

/** The n-th of each side: the canary's as given, the control's as good as can be. */
function beside(trial: VersionTrial, count: number, canary: (i: number) => Observation): void {
  const draws = new Draws(8);
  for (let i = 0; i < count && !trial.isBad; i++) {
    trial.observe("control", execution(logNormal(0.1)(draws, i), false));
    trial.observe("canary", canary(i));
  }
}

test("verdicts are sentences, with the evidence in figures", () => {
  const draws = new Draws(9);
  const well = () => execution(logNormal(0.1)(draws, 0), false);
  const cases: [VerdictKind, RegExp, VersionTrial, number, (i: number) => Observation][] = [
    [UNDECIDED, /^is not judged yet: 19 executions have been compared of 20$/, besideOne(), 19, well],
    [
      HEALTHY,
      /^failed 0 % of its newest executions \(version 1 0 %\) and takes (1|1\.0\d|0\.9\d\d?) times \(0\.\d+ to 1\.\d+\) as long as version 1: nothing is the matter in 200 executions$/,
      besideOne(),
      200,
      well,
    ],
    [
      SLOWER,
      /^takes 2\.\d+ times \(\d\.\d+ to \d\.\d+\) as long as version 1, by 1\d pairs of executions; if it were no slower, less than one trial in \d,\d{3} would look like this$/,
      besideOne(),
      200,
      () => execution(2.1 * logNormal(0.1)(draws, 0), false),
    ],
    [
      FAILING,
      /^failed 5\d(\.\d)? % of its newest executions, version 1 0 %, by \d\d pairs of executions; if it failed no more, /,
      besideOne(),
      200,
      (i) => execution(10, i % 2 === 0),
    ],
    [
      LEAKING,
      /^keeps 64 KiB more after each execution: agent a began at 6\d.* MiB and has grown through 1080 executions/,
      besideOne(),
      1_200,
      (i) => ({ ...well(), memoryAfterBytes: 2 ** 26 + 2 ** 16 * i }),
    ],
  ];
  for (const [kind, sentence, trial, count, canary] of cases) {
    beside(trial, count, canary);
    const verdict = trial.verdict();
    assert.equal(verdict.kind, kind, verdict.because);
    assert.match(verdict.because, sentence);
    assert.equal(verdict.passed, trial.isBad ? 0 : verdict.executions);
    assert.equal(verdict.evidence.samples, BigInt(verdict.executions));
    assert.equal(verdict.evidence.controlVersion, "1");
  }

  function besideOne(): VersionTrial {
    return new VersionTrial({ controlVersion: "1" });
  }
});

test("a faster version, one that fails less, and one that is a tenth slower are healthy", () => {
  for (const [factor, failing] of [
    [0.5, 1_000],
    [1, 1_000],
    [1.1, 1_000],
  ] as const) {
    const trial = new VersionTrial({ controlVersion: "1", baseline });
    const draws = new Draws(10);
    for (let i = 0; i < 3_000; i++) {
      trial.observe("control", execution(logNormal(0.1)(draws, i), i % 20 === 0));
      trial.observe("canary", execution(factor * logNormal(0.1)(draws, i), i % failing === 0));
    }
    assert.equal(trial.verdict().kind, HEALTHY, trial.verdict().because);
    assert.ok(trial.verdict().passed > 2_900);
  }
});

test("a bad verdict stays, with the evidence that it was reached by", () => {
  const trial = new VersionTrial({ controlVersion: "1" });
  beside(trial, 100, () => execution(30, false));
  const { because, evidence } = trial.verdict();
  for (let i = 0; i < 500; i++) trial.observe("canary", execution(1, false));
  assert.equal(trial.verdict().because, because);
  assert.deepEqual(trial.verdict().evidence, evidence);
});

test("while the control executes, the baseline plays no part; when it falls silent, what waited is compared with the baseline", () => {
  const trial = new VersionTrial({ controlVersion: "1", baseline });
  // Both are five times slower than the baseline: the load, not the version.
  for (let i = 0; i < 300; i++) {
    trial.observe("control", execution(50 + (i % 7), false, 1_000 * i));
    trial.observe("canary", execution(50 + (i % 5), false, 1_000 * i));
  }
  assert.equal(trial.verdict().kind, HEALTHY);
  for (let i = 300; i < 398; i++) trial.observe("canary", execution(50 + (i % 5), false, 1_000 * i));
  assert.equal(trial.isBad, false);
  trial.observe("canary", execution(50, false, 400_000));
  assert.equal(trial.verdict().kind, SLOWER);
  assert.match(trial.verdict().because, /by \d+ executions beside its earlier ones/);
});

test("what takes 1.8 ms longer is not slower, though it takes twice as long", () => {
  for (const [durationMs, kind] of [
    [3.6, HEALTHY],
    [4, SLOWER],
  ] as const) {
    for (const options of [{ controlVersion: "1" }, { baseline: { ...baseline, durationsMs: Array(200).fill(1.8) } }]) {
      const trial = new VersionTrial(options);
      for (let i = 0; i < 500; i++) {
        if ("controlVersion" in options) trial.observe("control", execution(1.8, false));
        trial.observe("canary", execution(durationMs, false));
      }
      assert.equal(trial.verdict().kind, kind, trial.verdict().because);
    }
  }
});

test("the first executions of each agent are not compared: those of many new ones would make a version slow", () => {
  const trial = new VersionTrial({ controlVersion: "1" });
  for (let i = 0; i < 300; i++) {
    trial.observe("control", execution(10, false));
    // 100 agents, three executions of each.
    trial.observe("canary", { ...execution(50, false), agentId: `agent-${i % 100}` });
  }
  assert.equal(trial.isBad, false);
  beside(trial, 20, () => ({ ...execution(50, false), agentId: "agent-1" }));
  assert.equal(trial.verdict().kind, SLOWER);
});

test("pairs of the same quarter of a second are one piece of evidence", () => {
  const found = [1, 300].map((apartMs) => {
    const trial = new VersionTrial({ controlVersion: "1" });
    for (let i = 1; i <= 300 && !trial.isBad; i++) {
      trial.observe("control", execution(10, false, 1e12 + apartMs * i));
      trial.observe("canary", execution(20, false, 1e12 + apartMs * i));
    }
    return trial.isBad;
  });
  assert.deepEqual(found, [false, true]);
  const trial = new VersionTrial({ controlVersion: "1" });
  for (let i = 0; i < 30; i++) trial.observe("control", execution(10, false, 1e12 + i));
  for (let i = 0; i < 30; i++) trial.observe("canary", execution(10, false, 1e12 + i));
  assert.equal(trial.verdict().passed, 4);
  assert.equal(trial.verdict().because, "is not judged yet: 30 executions have been compared, all of the same moment");
});

test("without anything to compare with, what fails mostly fails, and what fails now and then has passed", () => {
  const failing = new VersionTrial({});
  for (let i = 0; i < 20; i++) failing.observe("canary", execution(1, true));
  assert.equal(failing.verdict().kind, FAILING);
  const well = new VersionTrial({});
  for (let i = 0; i < 1_000; i++) well.observe("canary", execution(1, i % 3 === 0));
  assert.equal(well.verdict().kind, HEALTHY);
  assert.equal(well.verdict().passed, 1_000);
});

test("the shares of capabilities do not sum to more than alpha", () => {
  let sum = 0;
  for (let k = 1; k < 10_000; k++) sum += capabilityAlpha(0.001, k);
  assert.ok(sum < 0.001 && sum > 0.000_99);
});

const observations = fc.array(
  fc.record({
    side: fc.constantFrom("canary" as const, "control" as const, "canary" as const),
    agentId: fc.constantFrom("a", "b"),
    durationMs: fc.integer({ min: 0, max: 20 }),
    endTimeMs: fc.option(fc.integer({ min: 0, max: 5_000 }), { nil: undefined }),
    failed: fc.boolean(),
    memoryAfterBytes: fc.integer({ min: 0, max: 2 ** 28 }),
    heapAfterCollectionBytes: fc.integer({ min: 0, max: 2 ** 26 }),
  }),
  { minLength: 1, maxLength: 700, size: "max" },
);

test("a trial that is written down and read again in the middle ends as one that is not", () => {
  fc.assert(
    fc.property(observations, fc.nat(700), fc.boolean(), fc.boolean(), (all, cut, beside1, based) => {
      const options = { ...(beside1 && { controlVersion: "1" }), ...(based && { baseline }), seed: 7 };
      const whole = new VersionTrial(options);
      let cutOne = new VersionTrial(options);
      for (const [i, { side, ...observation }] of all.entries()) {
        whole.observe(side, observation);
        if (i === cut) cutOne = VersionTrial.from(JSON.parse(JSON.stringify(cutOne)) as TrialState);
        cutOne.observe(side, observation);
      }
      assert.deepEqual(cutOne.verdict(), whole.verdict());
      assert.deepEqual(JSON.stringify(cutOne), JSON.stringify(whole));
    }),
    { numRuns: 60 },
  );
});

test("Mann–Kendall and Theil–Sen, by hand", () => {
  // S = 5, its variance (4·3·13 − 2·1·9)/18 = 23/3 for the tie, so z = 4/√(23/3) = 1.4446; slopes 0 ½ ½ ⅔ 1 1.
  const { slope, pValue } = upwardTrend(Float64Array.from([1, 2, 2, 3]), Float64Array.from([0, 1, 2, 3]), 0.5);
  assert.ok(Math.abs(slope - 7 / 12) < 1e-12);
  assert.ok(Math.abs(pValue - 0.07428) < 1e-5, String(pValue));
  const days = Float64Array.from({ length: 30 }, (_, i) => 10 * i);
  const trendOf = (valueOn: (day: number) => number) => upwardTrend(days.map(valueOn), days, 0.5);
  assert.equal(trendOf((day) => 500 - day).pValue, 1);
  assert.equal(trendOf(() => 7).pValue, 1);
  assert.equal(trendOf((day) => 3 * day).slope, 3);
  for (const [z, p] of [
    [0, 0.5],
    [1.6448536269514722, 0.05],
    [3.090232306167813, 0.001],
    [5.997807015007682, 1e-9],
  ] as const) {
    assert.ok(Math.abs(upperTail(z) / p - 1) < 1e-6, `${z}: ${upperTail(z)}`);
  }
});
