import type { Clock } from "#libs/clock/clock.ts";

/** Says what may happen now, within this process. Costs are whole numbers of at least 1; default 1. */
export interface Limiter {
  /** Takes the cost if it can be had now. */
  allow(cost?: number): boolean;
  /**
   * How long until `allow(cost)` succeeds if nobody else takes anything, in milliseconds, rounded up: 0 for now, Infinity for
   * never, because the limit never admits so much at once.
   */
  waitTime(cost?: number): number;
}

export type MonotonicClock = Pick<Clock, "monotonic">;

/** @throws RangeError */
export function checkWhole(name: string, value: number, max = Number.MAX_SAFE_INTEGER): number {
  if (Number.isSafeInteger(value) && value >= 1 && value <= max) return value;
  throw new RangeError(`${name} must be a whole number from 1 to ${max}; it is ${value}.`);
}

/** 366 days, as for the limits of the RateLimit service. */
const maxPeriodMs = 366 * 86_400_000;

/** In microseconds. @throws RangeError */
export function checkPeriod(name: string, periodMs: number): number {
  const periodUs = Math.round(periodMs * 1_000);
  if (periodUs >= 1 && periodMs <= maxPeriodMs) return periodUs;
  throw new RangeError(`${name} must be from 0.001 to ${maxPeriodMs} (366 days); it is ${periodMs}.`);
}

/**
 * The time in whole microseconds. Where something is dated by `ceil` and judged by `floor` less time seems to have passed
 * than has, so that the fraction of a microsecond is never admitted twice.
 */
export function microseconds(clock: MonotonicClock): { readonly floor: number; readonly ceil: number } {
  const us = clock.monotonic() * 1_000;
  return { floor: Math.floor(us), ceil: Math.ceil(us) };
}
