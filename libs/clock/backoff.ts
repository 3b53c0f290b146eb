export interface BackoffPolicy {
  /** The ceiling of the first wait, in milliseconds. */
  readonly initialMs: number;
  /** No wait is longer, in milliseconds. */
  readonly maxMs: number;
  /** Each ceiling is this many times the one before. Default 2. */
  readonly factor?: number;
  /** A number in [0, 1). Default `Math.random`. */
  readonly random?: () => number;
}

/**
 * How long to wait after failure number `attempt` (the first is 1), in milliseconds: exponential with full jitter, that
 * is anything between 0 and the ceiling. Full jitter spreads a thundering herd best at the same total wait.
 */
export function backoffDelayMs(attempt: number, policy: BackoffPolicy): number {
  return (policy.random ?? Math.random)() * backoffCeilingMs(attempt, policy);
}

/** The longest `backoffDelayMs` can be for that attempt, in milliseconds. */
export function backoffCeilingMs(attempt: number, { initialMs, maxMs, factor = 2 }: BackoffPolicy): number {
  // 0 × Infinity is NaN once factor ** attempt overflows.
  if (initialMs === 0) return 0;
  return Math.min(maxMs, initialMs * factor ** (Math.max(1, attempt) - 1));
}
