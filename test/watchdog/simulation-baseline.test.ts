import assert from "node:assert/strict";
import { test } from "node:test";
import { alarmsAfter, families } from "./rollouts.ts";

const executions = 2_000;

test("against a frozen baseline, of 30 executions as of 500, 0.1 % at most are rolled back", (t) => {
  let rolledBack = 0;
  let all = 0;
  for (const [family, durations] of Object.entries(families)) {
    // What has drifted since the baseline was frozen is slower than the baseline.
    if (family === "drifting together") continue;
    for (const frozen of [30, 500]) {
      const rollouts = 300;
      const alarms = alarmsAfter({ durations, rollouts, executions, seed: 13 }, frozen);
      t.diagnostic(`${family}, baseline of ${frozen}: ${alarms} of ${rollouts}`);
      rolledBack += alarms;
      all += rollouts;
    }
  }
  assert.ok(rolledBack <= 0.001 * all, `${rolledBack} of ${all}`);
});
