import { type Observation, type TrialOptions, VersionTrial } from "../../services/watchdog/core/trial.ts";
import { bimodal, coarse, Draws, drifting, type Durations, heavyTailed, logNormal } from "./draws.ts";
import { WelchTest } from "./welch.ts";

/** Rollouts of a version that is the same as the one before. */
export interface Rollouts {
  readonly durations: Durations;
  readonly rollouts: number;
  /** Of the canary. */
  readonly executions: number;
  readonly seed: number;
}

export const families: Readonly<Record<string, Durations>> = {
  "log-normal, σ = 0.2": logNormal(0.2),
  "log-normal, σ = 1": logNormal(1),
  bimodal,
  "heavy-tailed": heavyTailed,
  "drifting together": drifting,
  "whole milliseconds": coarse,
};

const failureShare = 0.02;

export function execution(durationMs: number, failed: boolean, endTimeMs?: number): Observation {
  return { agentId: "a", durationMs, endTimeMs, failed, memoryAfterBytes: 0, heapAfterCollectionBytes: 0 };
}

const drawn = (durations: Durations, draws: Draws, i: number): Observation =>
  execution(durations(draws, i), draws.uniform() < failureShare, 1e12 + 100 * i);

/** `controls` of the control, then `canaries` of the canary, and so on. */
export interface Arrival {
  readonly controls: number;
  readonly canaries: number;
}

export const inTurn: Arrival = { controls: 1, canaries: 1 };

/**
 * How many are rolled back, looked at after each execution, with the other version beside them.
 * @param slower how much the canary really is; 1: it is the same.
 */
export function alarmsBeside(world: Rollouts, { controls, canaries }: Arrival = inTurn, slower = 1): number {
  const { durations, executions, rollouts } = world;
  const canaryDurations: Durations = (from, i) => slower * durations(from, i);
  const draws = new Draws(world.seed);
  let alarms = 0;
  for (let rollout = 0; rollout < rollouts; rollout++) {
    const trial = new VersionTrial({ controlVersion: "1" });
    for (let i = 0; i < executions && !trial.isBad; i += canaries) {
      for (let k = 0; k < controls; k++)
        trial.observe("control", drawn(durations, draws, i + (k * canaries) / controls));
      for (let k = 0; k < canaries; k++) trial.observe("canary", drawn(canaryDurations, draws, i + k));
    }
    if (trial.isBad) alarms++;
  }
  return alarms;
}

/** The same after the other version: against a baseline of `frozen` of its executions. */
export function alarmsAfter(world: Rollouts, frozen: number): number {
  const { durations, executions, rollouts } = world;
  const draws = new Draws(world.seed);
  let alarms = 0;
  for (let rollout = 0; rollout < rollouts; rollout++) {
    const trial = new VersionTrial({ baseline: baselineOf(durations, draws, frozen), seed: rollout });
    for (let i = 0; i < executions && !trial.isBad; i++) trial.observe("canary", drawn(durations, draws, i));
    if (trial.isBad) alarms++;
  }
  return alarms;
}

export function baselineOf(
  durations: Durations,
  draws: Draws,
  executions: number,
  share = failureShare,
): NonNullable<TrialOptions["baseline"]> {
  const completed = Array.from({ length: executions }, () => draws.uniform() >= share).filter(Boolean);
  const durationsMs = completed.map((_, i) => durations(draws, i));
  return { version: "1", durationsMs, executions, failures: executions - completed.length };
}

/** What Welch's t-test at 0.05, one-sided, asked from 10 executions a side on, would do with the same looking. */
export function alarmsOfWelch({ durations, executions, rollouts, seed }: Rollouts): number {
  const draws = new Draws(seed);
  let alarms = 0;
  for (let rollout = 0; rollout < rollouts; rollout++) {
    const test = new WelchTest();
    for (let i = 0; i < executions; i++) {
      test.addControl(durations(draws, i));
      test.addCanary(durations(draws, i));
      if (i < 9 || !test.isSlower()) continue;
      alarms++;
      break;
    }
  }
  return alarms;
}

export interface Change {
  readonly slower?: number;
  readonly failureShares?: readonly [control: number, canary: number];
  /** Executions of the canary before it. */
  readonly at?: number;
  /** Without a control: the size of the baseline. */
  readonly frozen?: number;
}

export interface Delays {
  readonly median: number;
  readonly p90: number;
}

/** Executions of the canary from the change to the verdict; durations are log-normal, σ = 0.2. */
export function delays({ slower = 1, failureShares = [0, 0], at = 0, frozen = 0 }: Change, rollouts: number): Delays {
  const draws = new Draws(rollouts);
  const durations = logNormal(0.2);
  const [share, canaryShare] = failureShares;
  const found = Array.from({ length: rollouts }, () => {
    const trial = new VersionTrial(
      frozen === 0 ? { controlVersion: "1" } : { baseline: baselineOf(durations, draws, frozen, share) },
    );
    let i = 0;
    for (; !trial.isBad && i < at + 100_000; i++) {
      if (frozen === 0) trial.observe("control", execution(durations(draws, i), draws.uniform() < share));
      const failed = draws.uniform() < (i < at ? share : canaryShare);
      trial.observe("canary", execution((i < at ? 1 : slower) * durations(draws, i), failed));
    }
    return i - at;
  }).toSorted((a, b) => a - b);
  return { median: found[rollouts >> 1]!, p90: found[Math.floor(0.9 * rollouts)]! };
}
