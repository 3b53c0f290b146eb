import { WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { Counter, Metrics } from "#libs/telemetry/metrics.ts";
import type { LimitIndex } from "./limit-index.ts";

export interface HolderLog {
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
}

/** How something was decided. */
export type DecidedBy = "lease" | "acquire" | "refused" | "uncounted" | "unreachable";

const policies = {
  [WhenUnreachable.FAIL_CLOSED]: "fail_closed",
  [WhenUnreachable.FAIL_OPEN]: "fail_open",
  [WhenUnreachable.SAFE_CAPACITY]: "safe_capacity",
} as const;

/** Knows whether the arbiter answers, and tells people and metrics of it when that changes. */
export class Reachability {
  readonly #log: HolderLog;
  readonly #limits: () => LimitIndex | undefined;
  readonly #decisions: Counter<"by"> | undefined;
  readonly #counts: Record<DecidedBy, number> = { lease: 0, acquire: 0, refused: 0, uncounted: 0, unreachable: 0 };
  #isReachable = true;
  /** Counts what was begun, so that an old answer says nothing about now. */
  #failures = 0;

  constructor(log: HolderLog, limits: () => LimitIndex | undefined, metrics?: Metrics) {
    this.#log = log;
    this.#limits = limits;
    this.#decisions = metrics?.counter("limit_decisions_total", "How what limits apply to was decided", ["by"]);
    // Shown from the start: a rate misses the first increase of a series that has just appeared.
    for (const by of Object.keys(this.#counts) as DecidedBy[]) this.#decisions?.add(0, { by });
    metrics?.observableGauge(
      "limits_without_arbiter",
      "Limits whose arbiter does not answer, by the policy that holds for them meanwhile",
      () =>
        Object.entries(this.#byPolicy()).map(([policy, names]) => [this.#isReachable ? 0 : names.length, { policy }]),
    );
  }

  get isReachable(): boolean {
    return this.#isReachable;
  }

  get failures(): number {
    return this.#failures;
  }

  count(by: DecidedBy): void {
    this.#counts[by]++;
  }

  /** Tells the metrics what was counted: adding each decision by itself would cost more than the decision. */
  publish(): void {
    for (const by of Object.keys(this.#counts) as DecidedBy[]) {
      if (this.#counts[by] > 0) this.#decisions?.add(this.#counts[by], { by });
      this.#counts[by] = 0;
    }
  }

  failed(error: unknown): void {
    this.#failures++;
    if (!this.#isReachable) return;
    this.#isReachable = false;
    // While everything starts this is nothing to worry anybody with.
    const level = this.#limits() === undefined ? "info" : "warn";
    this.#log[level](
      "the RateLimit service cannot be asked; what is leased can be used, then each limit's policy holds",
      {
        ...this.#byPolicy(),
        why: (error as Error).message,
      },
    );
  }

  /** @param failures what `failures` said when that which succeeded was begun. */
  answered(failures: number): void {
    if (this.#isReachable || failures !== this.#failures) return;
    this.#isReachable = true;
    this.#log.info("the RateLimit service answers again; limits are exact again", this.#byPolicy());
  }

  #byPolicy(): Record<string, string[]> {
    const names: Record<string, string[]> = { fail_closed: [], fail_open: [], safe_capacity: [] };
    for (const { namespace, name, whenUnreachable, isRate } of this.#limits()?.entries() ?? []) {
      if (!isRate) continue;
      names[policies[whenUnreachable as keyof typeof policies] ?? "fail_closed"]!.push(`${namespace}/${name}`);
    }
    return names;
  }
}
