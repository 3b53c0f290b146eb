import type { Client } from "@connectrpc/connect";
import type { Clock } from "#libs/clock/clock.ts";
import type { Decision, Refusal, Reservation } from "#libs/limits/decision.ts";
import { TokenHolder } from "#libs/limits/token-holder.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { Pause, RateLimitService } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Metrics } from "#libs/telemetry/metrics.ts";
import type { KnownTasks } from "./known-tasks.ts";

/** What a task took from one bucket. */
export interface ReservedCost {
  readonly limit: string;
  readonly key: string;
  readonly cost: bigint;
  /** The lease it was spent from. 0 if `Acquire` took it under the task's reservation id, or if it came from several. */
  readonly leaseId: bigint;
}

/** What a task took. */
export interface Reserved {
  readonly costs: readonly ReservedCost[];
  readonly reservation: Reservation;
}

const nothing: Reserved = { costs: [], reservation: { counted: [], spendings: [] } };

/** As the RateLimit service knows what a task has reserved. */
export const reservationId = (namespace: string, taskId: string): string => `${namespace}/${taskId}`;

/** Says whether a task may come in, if a limit applies to it at all: from leases of tokens, or by asking RateLimit. */
export class LimitGate implements AsyncDisposable {
  readonly #known: KnownTasks;
  readonly #holder: TokenHolder;

  constructor(parts: {
    readonly rateLimit: Client<typeof RateLimitService>;
    readonly holderId: string;
    readonly known: KnownTasks;
    readonly clock: Clock;
    readonly log: Logger;
    readonly metrics: Metrics;
  }) {
    const { rateLimit, holderId, known, clock, log, metrics } = parts;
    this.#known = known;
    this.#holder = new TokenHolder({ client: rateLimit, holderId, clock, log, metrics });
    this.#holder.start();
  }

  get reachable(): boolean {
    return this.#holder.isReachable;
  }

  get limitsKnown(): boolean {
    return this.#holder.limits !== undefined;
  }

  /** All limits of all tenants, as they were read last. */
  get all(): readonly Limit[] {
    return this.#holder.limits?.limits ?? [];
  }

  /** The pauses under way when limits were read last. */
  get pauses(): readonly Pause[] {
    return this.#holder.pauses;
  }

  /** All limits that count the task, of every kind. */
  applying(task: TaskSpec): readonly Limit[] {
    return this.#holder.limits?.applying(task) ?? [];
  }

  /** Reads the limits anew, as it does by itself some times a second. */
  async refresh(): Promise<void> {
    await this.#holder.poll();
  }

  /** Whether no limit of any kind counts the task. */
  isFree(task: TaskSpec): boolean {
    return this.limitsKnown && this.applying(task).length === 0;
  }

  /**
   * Takes the task's cost from the limits that apply to it. A task that was accepted before is let in over its limits, and
   * takes nothing then.
   * @throws ConnectError RATE_LIMITED with the wait, RATE_LIMIT_UNREACHABLE, or INVALID_REQUEST for what could never pass.
   */
  async admit(task: TaskSpec): Promise<Reserved> {
    const decision = await this.#holder.admit(task, reservationId(task.namespace, task.taskId));
    if (decision.kind === "refused" && (await this.#known.has(task))) return nothing;
    if (decision.kind !== "admitted") throw toError(task, decision);
    const { reservation } = decision;
    return { reservation, costs: reservation.counted.length === 0 ? [] : costsOf(reservation) };
  }

  /** Takes back what a task reserved that did not come to be. What `Acquire` took stays with the task's id. */
  release({ reservation }: Reserved): void {
    this.#holder.release(reservation);
  }

  /** Gives all leases back. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#holder[Symbol.asyncDispose]();
  }
}

function costsOf({ counted, spendings }: Reservation): ReservedCost[] {
  return counted.map(({ bucket, cost }) => {
    const from = spendings.filter((spending) => spending.bucket === bucket);
    const leaseId = from.length === 1 ? from[0]!.lease.id : 0n;
    return { limit: bucket.limit.name, key: bucket.key, cost: BigInt(cost), leaseId };
  });
}

function toError(task: TaskSpec, decision: Exclude<Decision, { kind: "admitted" }>): Error {
  if (decision.kind === "refused") return refused(task, decision.refusal);
  const names = decision.limits?.map((limit) => `'${limit}'`).join(", ") ?? "what applies is not known yet";
  return legionError("RATE_LIMIT_UNREACHABLE", `The RateLimit service cannot be asked (${names}).`, {
    retryDelayMs: 1_000,
  });
}

function refused(task: TaskSpec, { limit, key, retryDelayMs, isPaused, capacity }: Refusal): Error {
  const bucket = key === "" ? "" : ` for '${key}'`;
  if (retryDelayMs === undefined) {
    return legionError(
      "INVALID_REQUEST",
      `The task could never pass: it costs more than the ${capacity} that the limit '${limit}'${bucket} ever admits at once.`,
      { violations: [{ field: "task.costs", description: `more than the ${capacity} of the limit '${limit}'` }] },
    );
  }
  const is = isPaused ? "is paused" : "is reached";
  return legionError("RATE_LIMITED", `The limit '${limit}'${bucket} ${is}; try again in ${retryDelayMs} ms.`, {
    retryDelayMs,
    metadata: { limit, key, task_id: task.taskId },
  });
}
