import { Leak } from "../../services/watchdog/core/leak.ts";
import { Draws } from "./draws.ts";

const MiB = 2 ** 20;

/** Memory after the i-th execution, bytes, of a process that is new. */
export type Memory = (i: number, draws: Draws) => number;
/** Begins a process. */
export type Process = (draws: Draws) => Memory;

const base = 64 * MiB;

/** Noise whose neighbours are correlated: a deviation of `deviation` bytes. */
function autoregressive(rho: number, deviation = 2 * MiB, level = base): Process {
  return (begin) => {
    let state = begin.normal();
    return (_, draws) => {
      state = rho * state + Math.sqrt(1 - rho * rho) * draws.normal();
      return level + deviation * state;
    };
  };
}

/** What a process does besides its noise, AR(1) with ρ = 0.3. */
function onto(rise: (draws: Draws) => (i: number) => number, level = base): Process {
  return (begin) => {
    const noise = autoregressive(0.3, MiB, level)(begin);
    const risen = rise(begin);
    return (i, draws) => noise(i, draws) + risen(i);
  };
}

const between = (draws: Draws, low: number, high: number): number => low + (high - low) * draws.uniform();

/** Rises to 10 to 60 MiB and is collected, every 5 to 200 executions. */
const sawTooth: Process = onto((draws) => {
  const period = Math.round(between(draws, 5, 200));
  const height = between(draws, 10, 60) * MiB;
  const phase = draws.uniform();
  return (i) => height * ((i / period + phase) % 1);
});

/** Levels off 20 to 100 MiB higher, exponentially, within 50 to 400 executions to 95 %. */
const warmUp: Process = onto((draws) => {
  const tau = between(draws, 50, 400) / 3;
  const height = between(draws, 20, 100) * MiB;
  return (i) => height * (1 - Math.exp(-i / tau));
});

/** A cache that fills in a straight line and is full, 20 to 100 MiB, after 50 to 400 executions. */
const cache: Process = onto((draws) => {
  const full = between(draws, 50, 400);
  const height = between(draws, 20, 100) * MiB;
  return (i) => height * Math.min(1, i / full);
});

/** One to three steps of 10 to 60 MiB at any time of the first 1,000. */
const steps: Process = onto((draws) => {
  const at = Array.from({ length: 1 + Math.floor(3 * draws.uniform()) }, () => between(draws, 0, 1_000));
  const height = between(draws, 10, 60) * MiB;
  return (i) => height * at.filter((when) => i >= when).length;
});

export const leaking = (bytesAnExecution: number, level: number): Process =>
  onto(() => (i) => bytesAnExecution * i, level);

export const harmless: Readonly<Record<string, Process>> = {
  "AR(1), ρ = 0": autoregressive(0),
  "AR(1), ρ = 0.3": autoregressive(0.3),
  "AR(1), ρ = 0.5": autoregressive(0.5),
  "AR(1), ρ = 0.5, 20 MiB": autoregressive(0.5, 20 * MiB),
  "saw-tooth": sawTooth,
  "warm-up": warmUp,
  cache,
  steps,
};

/** The heap as told after the i-th execution: in use at the last collection, and up to 6 MiB that were no longer. */
export type Heap = (i: number, draws: Draws) => number;

/** A collection comes when as much again has got old as the last one left in use, `garbage` bytes and what leaks with each execution. */
export const heapOf =
  (leakBytes: number, garbage = 20_000): ((draws: Draws) => Heap) =>
  () => {
    const atFirst = 12 * MiB;
    let inUse = atFirst;
    let told = 0;
    let since = 0;
    return (i, draws) => {
      since += leakBytes + garbage;
      if (since < inUse) return told;
      since = 0;
      inUse = atFirst + leakBytes * i;
      told = inUse + 6 * MiB * draws.uniform() ** 2;
      return told;
    };
  };

const noHeap = (): Heap => () => 0;

/** After how many executions of one agent each of the processes is called a leak, in order; those that are not are left out. */
export function leaksFound(
  process: Process,
  processes: number,
  executions: number,
  { seed = 1, heap: heapProcess = noHeap }: { seed?: number; heap?: (draws: Draws) => Heap } = {},
): number[] {
  const draws = new Draws(seed);
  const found: number[] = [];
  for (let k = 0; k < processes; k++) {
    const memory = process(draws);
    const heap = heapProcess(draws);
    // A third of 0.001: two more questions are asked beside this one.
    const leak = new Leak(0.001 / 3);
    let i = 0;
    for (; i < executions && !leak.isWorse; i++) leak.observe("a", memory(i, draws), heap(i, draws));
    if (leak.isWorse) found.push(i);
  }
  return found.toSorted((a, b) => a - b);
}
