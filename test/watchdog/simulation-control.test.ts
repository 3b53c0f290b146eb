import assert from "node:assert/strict";
import { test } from "node:test";
import { VersionTrial } from "../../services/watchdog/core/trial.ts";
import { Draws, hiccuping } from "./draws.ts";
import { alarmsBeside, alarmsOfWelch, execution, families } from "./rollouts.ts";

const executions = 2_000;

test("of rollouts of an identical version beside its control 0.1 % at most are rolled back, looked at after every execution", (t) => {
  let rolledBack = 0;
  let all = 0;
  for (const [family, durations] of Object.entries(families)) {
    const rollouts = 1_700;
    const alarms = alarmsBeside({ durations, rollouts, executions, seed: 11 });
    const sample = 200;
    const ofWelch = alarmsOfWelch({ durations, rollouts: sample, executions, seed: 11 }) / sample;
    t.diagnostic(`${family}: ${alarms} of ${rollouts}; Welch's t-test at 0.05: ${Math.round(100 * ofWelch)} %`);
    rolledBack += alarms;
    all += rollouts;
    assert.ok(ofWelch > 0.1, "what it is compared with looks as often");
  }
  assert.ok(rolledBack <= 0.001 * all, `${rolledBack} of ${all}`);
});

test("nor do a tenth of the weight and reports in batches make it slower, while both drift", (t) => {
  let rolledBack = 0;
  for (const arrival of [
    { controls: 9, canaries: 1 },
    { controls: 50, canaries: 50 },
    { controls: 450, canaries: 50 },
  ]) {
    const durations = families["drifting together"]!;
    const alarms = alarmsBeside({ durations, rollouts: 250, executions, seed: 12 }, arrival);
    const found = alarmsBeside({ durations, rollouts: 20, executions: 300, seed: 12 }, arrival, 1.5);
    assert.equal(found, 20, "one that is 1.5 times slower is found");
    t.diagnostic(`${arrival.controls} of the control, ${arrival.canaries} of the canary, …: ${alarms} of 250`);
    rolledBack += alarms;
  }
  assert.ok(rolledBack <= 1);
});

test("processes that are slow for a while, each by itself, make no version slower", (t) => {
  const rollouts = 300;
  let rolledBack = 0;
  for (let seed = 1; seed <= rollouts; seed++) {
    const draws = new Draws(seed);
    const [control, canary] = [hiccuping(draws), hiccuping(draws)];
    const trial = new VersionTrial({ controlVersion: "1" });
    for (let i = 0; i < 10_000 && !trial.isBad; i++) {
      trial.observe("control", execution(control(draws, i), false, 1e12 + 5 * i));
      trial.observe("canary", execution(canary(draws, i), false, 1e12 + 5 * i));
    }
    if (trial.isBad) rolledBack++;
  }
  t.diagnostic(`${rolledBack} of ${rollouts}`);
  assert.ok(rolledBack <= 0.01 * rollouts, `${rolledBack} of ${rollouts}`);
});
