/** A lane with the first of its parked tasks, in their order. */
export interface RoundLane<T extends RoundTask = RoundTask> {
  readonly laneKey: number;
  /** Whether anybody can run its tasks; if not they take no slots. */
  readonly isServed: boolean;
  readonly rateGates: readonly number[];
  readonly slotGates: readonly number[];
  readonly tasks: readonly T[];
}

export interface RoundTask {
  readonly rank: number;
  readonly taskKey: number;
  /** Its rates have admitted it. */
  readonly paid: boolean;
}

export interface RoundGate {
  readonly held: number;
  /** Undefined: any number. */
  readonly max: number | undefined;
  readonly pauseMs: number;
}

/** What comes of a lane: when it is tried next, and the gate that it waits for. */
export interface LaneEnd {
  /** Less than 0: at once, or when there is a slot. */
  readonly delayMs: number;
  readonly blockedBy: number | null;
}

export interface Candidate<T extends RoundTask = RoundTask> {
  readonly lane: RoundLane<T>;
  readonly task: T;
}

export interface RoundPlan<T extends RoundTask = RoundTask> {
  /** Who may go on if their rates admit them, and in which order they are asked: by priority, then by age. */
  readonly candidates: Candidate<T>[];
  /** Lanes of which nobody may. */
  readonly ends: Map<number, LaneEnd>;
}

// A route that nobody serves is looked at as often as sessions come and go.
const unservedRestMs = 1_000;
// All of it was canceled, or came after it was looked at.
const emptyRestMs = 100;
const atOnce: LaneEnd = { delayMs: -1, blockedBy: null };

/** Decides, from what was read, which of the parked tasks may be let on. Slots are taken later, under a lock: here they are a guess. */
export function planRound<T extends RoundTask>(
  lanes: readonly RoundLane<T>[],
  gates: ReadonlyMap<number, RoundGate>,
): RoundPlan<T> {
  const candidates: Candidate<T>[] = [];
  const ends = new Map<number, LaneEnd>();
  const planned = new Map<number, number>();
  const oldestFirst = lanes.toSorted((a, b) => compare(a.tasks[0], b.tasks[0]));
  for (const lane of oldestFirst) {
    const pause = longestPause(lane, gates);
    if (pause !== undefined) {
      ends.set(lane.laneKey, pause);
      continue;
    }
    if (lane.slotGates.length > 0 && !lane.isServed) {
      ends.set(lane.laneKey, { delayMs: unservedRestMs, blockedBy: null });
      continue;
    }
    if (lane.tasks.length === 0) {
      ends.set(lane.laneKey, { delayMs: emptyRestMs, blockedBy: null });
      continue;
    }
    let free = lane.tasks.length;
    for (const key of lane.slotGates) {
      const gate = gates.get(key);
      if (gate?.max !== undefined) free = Math.min(free, gate.max - gate.held - (planned.get(key) ?? 0));
    }
    // Rates are not asked for what would find no slot.
    for (const task of lane.tasks.slice(0, Math.max(0, free))) candidates.push({ lane, task });
    for (const key of lane.slotGates) planned.set(key, (planned.get(key) ?? 0) + Math.max(0, free));
    ends.set(lane.laneKey, atOnce);
  }
  candidates.sort((a, b) => compare(a.task, b.task));
  return { candidates, ends };
}

/** What a task's rates said: undefined that it may go on; or how long it waits for which gate; or that it never can. */
export type RateAnswer = { readonly delayMs: number; readonly gateKey: number | null } | "never" | undefined;

/**
 * Decides by the rates' answers, in the order of the candidates, who goes on: in each lane nobody passes one that was refused,
 * unless that one never can.
 * @param answerOf asked for each unpaid candidate.
 */
export function settleRound<T extends RoundTask>(
  { candidates, ends }: RoundPlan<T>,
  answerOf: (candidate: Candidate<T>) => RateAnswer,
): { readonly going: Candidate<T>[]; readonly ends: Map<number, LaneEnd> } {
  const going: Candidate<T>[] = [];
  const settled = new Map(ends);
  const stopped = new Set<number>();
  for (const candidate of candidates) {
    const { laneKey } = candidate.lane;
    if (stopped.has(laneKey)) continue;
    const answer = candidate.task.paid ? undefined : answerOf(candidate);
    if (answer === undefined) going.push(candidate);
    if (answer === undefined || answer === "never") continue;
    stopped.add(laneKey);
    settled.set(laneKey, { delayMs: Math.max(0, answer.delayMs), blockedBy: answer.gateKey });
  }
  return { going, ends: settled };
}

/**
 * Lanes that one gate turned away do not all come back at once: each a unit's time after the one before it, though within a
 * second, since those before it may be gone by then.
 */
export function spread(ends: Map<number, LaneEnd>, intervalMs: (gateKey: number) => number): Map<number, LaneEnd> {
  const before = new Map<number, number>();
  return new Map(
    [...ends].map(([laneKey, end]) => {
      if (end.blockedBy === null || end.delayMs < 0) return [laneKey, end];
      const rank = before.get(end.blockedBy) ?? 0;
      before.set(end.blockedBy, rank + 1);
      return [laneKey, { ...end, delayMs: end.delayMs + Math.min(1_000, rank * intervalMs(end.blockedBy)) }];
    }),
  );
}

function longestPause(lane: RoundLane, gates: ReadonlyMap<number, RoundGate>): LaneEnd | undefined {
  let longest: LaneEnd | undefined;
  for (const key of [...lane.rateGates, ...lane.slotGates]) {
    const pauseMs = gates.get(key)?.pauseMs ?? 0;
    if (pauseMs > (longest?.delayMs ?? 0)) longest = { delayMs: pauseMs, blockedBy: key };
  }
  return longest;
}

function compare(a: RoundTask | undefined, b: RoundTask | undefined): number {
  if (a === undefined || b === undefined) return (a === undefined ? 1 : 0) - (b === undefined ? 1 : 0);
  return a.rank - b.rank || a.taskKey - b.taskKey;
}
