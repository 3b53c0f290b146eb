import { type Collection, Collections } from "./collections.ts";
import { upwardTrend } from "./mann-kendall.ts";
import { MemorySeries, type MemorySeriesState } from "./memory-series.ts";
import { medianOf } from "./recent.ts";

export interface LeakFinding {
  readonly agentId: string;
  readonly slopeBytes: number;
  readonly pValue: number;
  readonly executions: number;
  readonly baseBytes: number;
}

export interface LeakState {
  readonly looks: number;
  readonly observed: number;
  readonly series: readonly {
    readonly agentId: string;
    readonly seen: number;
    readonly state: MemorySeriesState;
    readonly collections: readonly Collection[];
  }[];
  readonly last?: LeakFinding;
  readonly leaks: boolean;
}

interface AgentMemory {
  readonly series: MemorySeries;
  readonly collections: Collections;
  seen: number;
}

const maxAgents = 16;
/** Executions of others after which an agent that is silent loses its place to a new one. */
const silence = 10_000;
/** What blocks of 10 may be correlated by. */
const correlation = 0.5;
/** Resident memory wanders: an allocator takes much at a time and gives little back. */
const correlationAlone = 0.95;
/** 1 MB in 1,000 executions. */
const minSlopeBytes = 1_000;
const minGrowth = 0.1;
/** Resident memory of a process that keeps nothing grows too, by as much as its collector finds good. */
const minGrowthAlone = 0.5;
const minBytesAlone = 64 * 2 ** 20;
/** A cache that fills within half of them is told from a leak. */
const enoughExecutions = 1_000;
/** Before them, what no cache is expected to do while it fills. */
const urgentGrowth = 3;
const urgentBytes = 256 * 2 ** 20;

/**
 * Does memory grow from execution to execution and stay? For each agent (16 at most; a new one takes the place of one that was
 * silent while others reported 10,000) the newer half of its block minima is looked at as it grows. The k-th look, of whichever agent, may err with
 * α_k = 6α/(π²k²), which sum to α. It is a leak when, in that half,
 * - the trend is significant: Mann–Kendall p ≤ α_k;
 * - the slope (Theil–Sen) is worth it: 1,000 bytes an execution, and a tenth of the least block in the agent's life so far;
 * - it rises throughout: from quarter to quarter by a fourth of the mean rise at least, which a step does not;
 * - it does not level off: the slope is at least half of the slope of the older half;
 * - what is in use grows with it, where the agent tells its heap after collections (see `Collections`); where it does not, the memory has
 *   grown by a half, and by 64 MiB;
 * and when the agent was seen for 1,000 executions, or its memory is four times what it was, and 256 MiB more.
 */
export class Leak {
  readonly #alpha: number;
  readonly #agents = new Map<string, AgentMemory>();
  #observed: number;
  #looks: number;
  #last: LeakFinding | undefined;
  #leaks: boolean;

  constructor(alpha: number, state?: LeakState) {
    this.#alpha = alpha;
    for (const { agentId, seen, state: series, collections } of state?.series ?? []) {
      this.#agents.set(agentId, { series: new MemorySeries(series), collections: new Collections(collections), seen });
    }
    this.#observed = state?.observed ?? 0;
    this.#looks = state?.looks ?? 0;
    this.#last = state?.last;
    this.#leaks = state?.leaks ?? false;
  }

  /** Once it does, it does. */
  get isWorse(): boolean {
    return this.#leaks;
  }

  /** Of the last look, or of that which found the leak. */
  get finding(): LeakFinding | undefined {
    return this.#last;
  }

  /** 0: unknown. */
  observe(agentId: string, memoryBytes: number, heapBytes: number): void {
    if (this.#leaks || (memoryBytes <= 0 && heapBytes <= 0)) return;
    this.#observed++;
    const agent = this.#agents.get(agentId) ?? this.#place(agentId);
    if (agent === undefined) return;
    agent.seen = this.#observed;
    agent.collections.add(agent.series.executions, heapBytes);
    if (agent.series.add(memoryBytes > 0 ? memoryBytes : heapBytes)) this.#look(agentId, agent);
  }

  #place(agentId: string): AgentMemory | undefined {
    if (this.#agents.size === maxAgents) {
      for (const [silent, { seen }] of this.#agents) {
        if (this.#observed - seen >= silence) this.#agents.delete(silent);
      }
      if (this.#agents.size === maxAgents) return undefined;
    }
    const agent = { series: new MemorySeries(), collections: new Collections(), seen: this.#observed };
    this.#agents.set(agentId, agent);
    return agent;
  }

  #look(agentId: string, { series: { minima, ends }, collections }: AgentMemory): void {
    const half = minima.length >> 1;
    const newer = minima.subarray(half);
    const most = collections.size > 0 ? correlation : correlationAlone;
    const { slope: slopeBytes, pValue } = upwardTrend(newer, ends.subarray(half), most);
    const executions = ends.at(-1)!;
    const baseBytes = Math.min(...minima);
    this.#last = { agentId, slopeBytes, pValue, executions, baseBytes };
    const allowed = (6 * this.#alpha) / (Math.PI * ++this.#looks) ** 2;
    this.#leaks =
      pValue <= allowed &&
      slopeBytes >= minSlopeBytes &&
      slopeBytes * executions >= minGrowth * baseBytes &&
      (executions >= enoughExecutions ||
        newer.at(-1)! - baseBytes >= Math.max(urgentGrowth * baseBytes, urgentBytes)) &&
      risesThroughout(newer) &&
      (collections.size === 0
        ? newer.at(-1)! - baseBytes >= Math.max(minGrowthAlone * baseBytes, minBytesAlone)
        : collections.grewBy(minGrowth * baseBytes, executions)) &&
      slopeBytes >= 0.5 * upwardTrend(minima.subarray(0, half), ends.subarray(0, half), most).slope;
  }

  toJSON(): LeakState {
    return {
      looks: this.#looks,
      observed: this.#observed,
      series: [...this.#agents].map(([agentId, { series, collections, seen }]) => {
        return { agentId, seen, state: series.toJSON(), collections: collections.toJSON() };
      }),
      ...(this.#last && { last: this.#last }),
      leaks: this.#leaks,
    };
  }
}

function risesThroughout(values: Float64Array): boolean {
  const levels = [0, 1, 2, 3].map((quarter) =>
    medianOf(values.slice((quarter * values.length) / 4, ((quarter + 1) * values.length) / 4).sort()),
  );
  const rises = [levels[1]! - levels[0]!, levels[2]! - levels[1]!, levels[3]! - levels[2]!];
  return Math.min(...rises) >= (levels[3]! - levels[0]!) / 12;
}
