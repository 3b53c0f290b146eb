import { type Clock, systemClock } from "#libs/clock/clock.ts";
import { checkWhole, type Limiter } from "./limiter.ts";
import type { KeyLimit } from "./key-limit.ts";
import { meshLimit, type MeshLimitOptions } from "./mesh-limit.ts";
import { SlidingWindowLimiter } from "./sliding-window-limiter.ts";
import { TokenBucketLimiter } from "./token-bucket-limiter.ts";
import { Turns } from "./turns.ts";

/** A limit of this process alone. */
export interface LocalLimitOptions {
  /** How many calls in any period; with `burst`, how many come back each period. A whole number of at least 1. */
  readonly calls: number;
  /** In milliseconds, to the microsecond. */
  readonly periodMs: number;
  /** Makes it a token bucket that admits so many at once. Default: none, a sliding window. */
  readonly burst?: number | undefined;
  readonly limit?: undefined;
}

export interface CallOptions<A extends unknown[]> {
  /** What a call costs: a whole number of at least 1. Default: 1. */
  readonly cost?: (...args: A) => number;
  /** Counts apart for each value, such as the user's name. With a limit of the mesh it is the user. Default: all together. */
  readonly key?: (...args: A) => string;
  /** A call waits for its turn at most this long, in milliseconds; 0 refuses at once. Default: as long as it takes. */
  readonly maxWaitMs?: number;
  /** Default: the system's. */
  readonly clock?: Clock;
}

export type RateLimitOptions<A extends unknown[]> = (LocalLimitOptions | MeshLimitOptions) & CallOptions<A>;

type Limited<This, A extends unknown[], R> = (this: This, ...args: A) => Promise<R>;

/** Keys that were not used are looked for when there are this many more. */
const sweepEvery = 1_000;

/**
 * Makes a function wait for its turn, callers in the order they came (those of one key, if there are keys):
 * `rateLimit({ calls: 100, periodMs: 60_000 })(fn)`. With `limit: "name"` it is a limit of the mesh instead, shared by all
 * processes that use it.
 *
 * The function it makes rejects with RateLimitedError if the turn does not come within `maxWaitMs`, or never, because the cost
 * is more than the limit ever admits at once; or with what the mesh answers when it cannot decide.
 * @throws RangeError for numbers that make no limit
 */
export function rateLimit<A extends unknown[]>(options: RateLimitOptions<A>) {
  const { cost = () => 1, key = () => "", maxWaitMs = Infinity, clock = systemClock } = options;
  const turns = new Map<string, { turns: Turns; isFresh: () => boolean }>();
  const make = options.limit === undefined ? localLimit(options, clock) : meshLimit(options);

  const turnsOf = (name: string): Turns => {
    let found = turns.get(name);
    if (found === undefined) {
      if (turns.size > 0 && turns.size % sweepEvery === 0) forgetUnused(turns);
      const { what, take, isFresh } = make(name);
      turns.set(name, (found = { turns: new Turns({ what, take, clock, maxWaitMs }), isFresh }));
    }
    return found.turns;
  };

  return <This, R>(call: (this: This, ...args: A) => R | Promise<R>): Limited<This, A, R> =>
    async function limited(...args) {
      await turnsOf(key(...args)).next(checkWhole("cost", cost(...args)));
      return await call.apply(this, args);
    };
}

function localLimit({ calls, periodMs, burst }: LocalLimitOptions, clock: Clock): () => KeyLimit {
  const make = (): Limiter =>
    burst === undefined
      ? new SlidingWindowLimiter({ calls, periodMs, clock })
      : new TokenBucketLimiter({ calls, periodMs, burst, clock });
  make();
  const what = `${calls} calls in ${periodMs} ms`;
  return () => {
    const limiter = make();
    const take = (cost: number): number => (limiter.allow(cost) ? 0 : limiter.waitTime(cost));
    return { what, take, isFresh: () => limiter.waitTime(burst ?? calls) === 0 };
  };
}

function forgetUnused(all: Map<string, { turns: Turns; isFresh: () => boolean }>): void {
  for (const [name, { turns, isFresh }] of all) if (turns.isIdle && isFresh()) all.delete(name);
}
