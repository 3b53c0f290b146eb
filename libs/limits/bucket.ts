import type { LimitEntry } from "./limit-entry.ts";

/** Tokens that are this holder's to spend. */
export interface HeldLease {
  readonly id: bigint;
  readonly granted: number;
  /** By the holder's monotonic clock, counted from when the request was sent. */
  readonly endMs: number;
  /** From then on another one is wanted in its place. */
  readonly agingMs: number;
  left: number;
  lastUseMs: number | undefined;
}

/** What demand is remembered for, by exponential decay, in milliseconds. */
const memoryMs = 1_000;

/** A key that is asked for less than about this often a second is not worth a lease. */
const fewUses = 3;

/** One bucket of a limit, as its holder sees it. */
export class Bucket {
  readonly limit: LimitEntry;
  readonly key: string;
  /** Those that can be spent, the one that ends first in front. */
  readonly leases: HeldLease[] = [];
  /** The sum of what they have left. */
  left = 0;
  /** With no more than this left it is time for another lease. */
  renewAt = -1;
  /** A request for more is on its way. */
  isAsking = false;
  /** The arbiter had less than was wanted: until then asking for leases is no use. */
  scarceUntilMs = -Infinity;
  pausedUntilMs: number;
  #uses = 0;
  #cost = 0;
  #notedMs = -Infinity;

  constructor(limit: LimitEntry, key: string, pausedUntilMs = -Infinity) {
    this.limit = limit;
    this.key = key;
    this.pausedUntilMs = pausedUntilMs;
  }

  /** When it was asked for last. */
  get notedMs(): number {
    return this.#notedMs;
  }

  /** Counts a wish, whether or not it can be granted. */
  note(cost: number, nowMs: number): void {
    const kept = this.#decay(nowMs);
    this.#uses = this.#uses * kept + 1;
    this.#cost = this.#cost * kept + cost;
    this.#notedMs = nowMs;
  }

  /** What is asked for in about a second. */
  demand(nowMs: number): number {
    return this.#cost * this.#decay(nowMs);
  }

  isInDemand(nowMs: number): boolean {
    return this.#uses * this.#decay(nowMs) >= fewUses;
  }

  #decay(nowMs: number): number {
    return nowMs === this.#notedMs ? 1 : Math.exp((this.#notedMs - nowMs) / memoryMs);
  }
}
