import { parseArgs } from "node:util";
import { harmless, heapOf, leaking, leaksFound } from "../watchdog/memories.ts";
import { alarmsAfter, alarmsBeside, alarmsOfWelch, type Change, delays, families } from "../watchdog/rollouts.ts";

// Usage: node test/bench/verdicts.ts [--rollouts 10000] [--executions 2000] [--seed 1]
const { values } = parseArgs({
  options: {
    rollouts: { type: "string", default: "10000" },
    executions: { type: "string", default: "2000" },
    seed: { type: "string", default: "1" },
  },
});
const [rollouts, executions, seed] = [values.rollouts, values.executions, values.seed].map(Number) as [
  number,
  number,
  number,
];

const percent = (count: number, of: number): string => `${((100 * count) / of).toFixed(2)} %`.padStart(8);
const line = (name: string, ...columns: string[]): void => console.log(name.padEnd(34), columns.join("  "));
const seconds = (sinceMs: number): string => `(${((performance.now() - sinceMs) / 1_000).toFixed(0)} s)`;

console.log(`Identical versions, ${rollouts} rollouts of ${executions} executions, looked at after each: rolled back`);
line("", "  beside", "after 500", "after 30", "Welch's t-test at 0.05");
const total = { beside: 0, after: 0, besides: 0, afters: 0 };
for (const [name, durations] of Object.entries(families)) {
  const since = performance.now();
  const world = { durations, rollouts, executions, seed };
  const beside = alarmsBeside(world);
  // What has drifted since the baseline was frozen is slower than the baseline.
  const drifts = name === "drifting together";
  const after = drifts ? [] : [500, 30].map((frozen) => alarmsAfter(world, frozen));
  const columns = drifts ? ["        ", "        "] : after.map((alarms) => percent(alarms, rollouts));
  line(name, percent(beside, rollouts), ...columns, percent(alarmsOfWelch(world), rollouts), seconds(since));
  total.beside += beside;
  total.besides += rollouts;
  total.after += after.reduce((sum, alarms) => sum + alarms, 0);
  total.afters += after.length * rollouts;
}
line("all", `${total.beside} of ${total.besides} beside, ${total.after} of ${total.afters} after`);

console.log("\nExecutions of the canary from the change to the verdict, log-normal with σ = 0.2: median, nine of ten");
const changes: Record<string, Change> = {
  "2 times slower": { slower: 2 },
  "1.5 times": { slower: 1.5 },
  "1.3 times": { slower: 1.3 },
  "failing 11 % instead of 1 %": { failureShares: [0.01, 0.11] },
  "failing 20 % instead of 0 %": { failureShares: [0, 0.2] },
};
line("", "beside", "beside, from the 1,001st", "after 500", "after 500, from the 1,001st");
for (const [name, change] of Object.entries(changes)) {
  const columns = [0, 500].flatMap((frozen) =>
    [0, 1_000].map((at) => {
      // Less than 1.4 times the baseline's median is no verdict.
      if (frozen > 0 && change.slower === 1.3) return "never";
      const { median, p90 } = delays({ ...change, frozen, at }, 1_000);
      return `${median}, ${p90}`;
    }),
  );
  line(name, ...columns.map((column) => column.padStart(10)));
}

const agents = Math.ceil(rollouts / 10);
console.log(`\nNo leaks: ${agents} agents, called leaking within 1,000 executions, within 5,000`);
for (const [name, process] of Object.entries(harmless)) {
  const found = leaksFound(process, agents, 5_000, { seed });
  line(name, percent(found.filter((at) => at <= 1_000).length, agents), percent(found.length, agents));
}

console.log(
  "\nLeaks, 500 agents: executions of the agent until it is found, median, nine of ten; the same when it tells its heap",
);
for (const base of [20, 64, 256]) {
  for (const kib of [1, 4, 16, 64, 256, 1_024]) {
    const [process, options] = [leaking(kib * 1_024, base * 2 ** 20), { seed }];
    const alone = leaksFound(process, 500, 200_000, options);
    const told = leaksFound(process, 500, 200_000, { ...options, heap: heapOf(kib * 1_024) });
    const columns = [alone, told].map((found) => `${found[250]}, ${found[450]}`.padStart(16));
    line(`${kib} KiB an execution, ${base} MiB base`, ...columns, `${alone.length}, ${told.length} found`);
  }
}
