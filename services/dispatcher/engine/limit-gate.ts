import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, type Client } from "@connectrpc/connect";
import { Batcher } from "#libs/db/batcher.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import {
  AcquisitionSchema,
  type Acquisition,
  type AcquireResult,
  type Pause,
  type RateLimitService,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { isUnavailable, legionError, toConnectError } from "#libs/rpc/errors.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { appliesTo, passesUncounted } from "../core/limits.ts";

const askTimeoutMs = 2_000;

/** Asks RateLimit whether a task may come in, if a limit applies to it at all. */
export class LimitGate {
  readonly #rateLimit: Client<typeof RateLimitService>;
  readonly #log: Logger;
  /** Undefined until they were read once: then nobody knows what applies. */
  #limits: readonly Limit[] | undefined;
  #pauses: readonly Pause[] = [];
  #reachable = true;
  readonly #batcher: Batcher<Acquisition, AcquireResult>;

  constructor(rateLimit: Client<typeof RateLimitService>, log: Logger) {
    this.#rateLimit = rateLimit;
    this.#log = log;
    this.#batcher = new Batcher({
      maxItems: 500,
      concurrency: 2,
      run: async (acquisitions) => {
        const response = await this.#rateLimit.acquire({ acquisitions }, { timeoutMs: askTimeoutMs });
        return response.results;
      },
    });
  }

  get reachable(): boolean {
    return this.#reachable;
  }

  get limitsKnown(): boolean {
    return this.#limits !== undefined;
  }

  /** All limits of all tenants, as they were read last. */
  get all(): readonly Limit[] {
    return this.#limits ?? [];
  }

  /** The pauses under way when they were read last. */
  get pauses(): readonly Pause[] {
    return this.#pauses;
  }

  /** All limits that count the task, of every kind. */
  applying(task: TaskSpec): readonly Limit[] {
    return this.all.filter((limit) => appliesTo(limit, task));
  }

  /** Reads the limits anew. */
  async refresh(): Promise<void> {
    try {
      const answer = await this.#rateLimit.listLimits({}, { timeoutMs: askTimeoutMs });
      this.#limits = answer.limits;
      this.#pauses = answer.pauses;
      if (!this.#reachable) this.#log.info("the RateLimit service answers again");
      this.#reachable = true;
    } catch (error) {
      // While everything starts this is nothing to worry anybody with.
      const level = this.#limits === undefined ? "info" : "warn";
      const why = (error as Error).message;
      if (this.#reachable)
        this.#log[level]("the RateLimit service does not answer; the last known limits hold", { why });
      this.#reachable = false;
    }
  }

  /** Whether the task can come in without asking anybody. */
  isFree(task: TaskSpec): boolean {
    return this.#limits !== undefined && !this.#limits.some((limit) => appliesTo(limit, task));
  }

  /**
   * Takes the task's cost from the limits that apply to it.
   * @throws ConnectError RATE_LIMITED with the wait, RATE_LIMIT_UNREACHABLE, or INVALID_REQUEST for what could never pass.
   */
  async admit(task: TaskSpec): Promise<void> {
    let result: AcquireResult;
    try {
      result = await this.#batcher.add(toAcquisition(task));
    } catch (error) {
      const isAway = isUnavailable(error) || toConnectError(error).code === Code.DeadlineExceeded;
      if (!isAway && this.#limits !== undefined) throw error;
      const limits = this.#limits?.filter((limit) => appliesTo(limit, task));
      if (limits !== undefined && passesUncounted(limits)) return;
      const names = limits?.map((limit) => `'${limit.name}'`).join(", ") ?? "what applies is not known yet";
      throw legionError("RATE_LIMIT_UNREACHABLE", `The RateLimit service cannot be asked (${names}).`, {
        retryDelayMs: 1_000,
      });
    }
    if (!result.allowed) throw refused(task, result);
  }
}

function toAcquisition(task: TaskSpec): Acquisition {
  return create(AcquisitionSchema, {
    reservationId: `${task.namespace}/${task.taskId}`,
    namespace: task.namespace,
    capability: task.capability,
    user: task.user,
    labels: task.labels,
    costs: task.costs,
  });
}

function refused(task: TaskSpec, { limit, key, retryDelay }: AcquireResult): Error {
  const bucket = key === "" ? "" : ` for '${key}'`;
  if (retryDelay === undefined) {
    return legionError(
      "INVALID_REQUEST",
      `The task costs more than the limit '${limit}'${bucket} ever admits at once.`,
      {
        violations: [{ field: "task.costs", description: `more than the burst of the limit '${limit}'` }],
      },
    );
  }
  const retryDelayMs = durationMs(retryDelay);
  return legionError("RATE_LIMITED", `The limit '${limit}'${bucket} is reached; try again in ${retryDelayMs} ms.`, {
    retryDelayMs,
    metadata: { limit, key, task_id: task.taskId },
  });
}
