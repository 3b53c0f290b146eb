import { create, toBinary } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { durationFromMs, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { randomUUIDv7 } from "node:crypto";
import { CostSchema } from "#libs/proto/legion/common/v1/cost_pb.ts";
import { LabelSchema } from "#libs/proto/legion/common/v1/label_pb.ts";
import type { Label } from "#libs/proto/legion/common/v1/label_pb.ts";
import { PayloadSchema } from "#libs/proto/legion/common/v1/payload_pb.ts";
import { RetryPolicySchema, TaskSpecSchema, WhenLimited } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { RetryPolicy, TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { LegionError, refusal } from "./errors.ts";

export interface RetryOptions {
  /** Attempts in all, the first included. Default 3; at most 100. */
  readonly maxAttempts?: number | undefined;
  /** Before the first retry. Default 1 s; at most 24 h. */
  readonly initialDelayMs?: number | undefined;
  /** The longest wait. Default 60 s; at most 24 h. */
  readonly maxDelayMs?: number | undefined;
  /** Growth from one retry to the next. Default 2; 1 to 100. */
  readonly factor?: number | undefined;
}

/** What may be said about a task beside what it is. */
export interface TaskOptions {
  /** The tenant. Default `default`. */
  readonly namespace?: string | undefined;
  /** Higher runs first. -1,000 to 1,000; default 0. */
  readonly priority?: number | undefined;
  /** Whom the task is for; limits may be per user. */
  readonly user?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Only an agent that has all these labels may run it. */
  readonly requiredLabels?: Readonly<Record<string, string>> | undefined;
  /** Not before this time. */
  readonly runTime?: Date | undefined;
  /** How long one attempt may run. 1 ms to 30 days; default: no limit. */
  readonly executionTimeoutMs?: number | undefined;
  readonly retryPolicy?: RetryOptions | undefined;
  /** What it is expected to cost, by unit. Default: one task. */
  readonly costs?: Readonly<Record<string, number | bigint>> | undefined;
  /** Over a limit on a rate: refused with RATE_LIMITED (the default), or accepted and run when the limit lets it. */
  readonly whenLimited?: "refuse" | "wait" | undefined;
}

const whenLimitedOf = { refuse: WhenLimited.REFUSE, wait: WhenLimited.WAIT } as const;

/**
 * A task as the contract has it. Without an id it is given one that sorts by time.
 * @throws LegionError INVALID_REQUEST when an option cannot be written; bounds are the mesh's to judge
 */
export function taskSpec(
  taskId: string | undefined,
  capability: string,
  data: Uint8Array,
  options: TaskOptions,
): TaskSpec {
  checkText("task_id", taskId ?? "");
  checkText("capability", capability);
  if (capability === "") throw refusal("INVALID_REQUEST", "The required capability is empty.");
  const { namespace, priority, user, labels, requiredLabels, runTime, executionTimeoutMs, retryPolicy } = options;
  const { costs, whenLimited } = options;
  const spec = create(TaskSpecSchema, { taskId: taskId || randomUUIDv7(), capability });
  spec.taskData = create(PayloadSchema, { data });
  if (namespace !== undefined) spec.namespace = namespace;
  if (priority !== undefined) spec.priority = priority;
  if (user !== undefined) spec.user = user;
  if (labels !== undefined) spec.labels = labelList(labels);
  if (requiredLabels !== undefined) spec.requiredLabels = labelList(requiredLabels);
  if (runTime !== undefined) spec.runTime = timestamp(runTime);
  if (executionTimeoutMs !== undefined) spec.executionTimeout = duration("executionTimeoutMs", executionTimeoutMs);
  if (retryPolicy !== undefined) spec.retryPolicy = retryPolicyOf(retryPolicy);
  if (costs !== undefined) spec.costs = costList(costs);
  if (whenLimited !== undefined) spec.whenLimited = whenLimitedOf[whenLimited];
  // In a frame of many, a field that cannot be encoded would harm the others.
  if (Object.keys(options).length > 0) checkEncodable(spec);
  return spec;
}

function retryPolicyOf({ maxAttempts, initialDelayMs, maxDelayMs, factor }: RetryOptions): RetryPolicy {
  const policy = create(RetryPolicySchema, {});
  // On the wire 0 means the default; nobody who writes 0 means that.
  if (maxAttempts === 0) throw refusal("INVALID_REQUEST", "retryPolicy.maxAttempts must be from 1 to 100, but is 0.");
  if (maxAttempts !== undefined) policy.maxAttempts = maxAttempts;
  if (initialDelayMs !== undefined) policy.initialDelay = duration("retryPolicy.initialDelayMs", initialDelayMs);
  if (maxDelayMs !== undefined) policy.maxDelay = duration("retryPolicy.maxDelayMs", maxDelayMs);
  if (factor !== undefined) policy.factor = factor;
  return policy;
}

function labelList(labels: Readonly<Record<string, string>>): Label[] {
  return Object.entries(labels).map(([key, value]) => create(LabelSchema, { key, value }));
}

function costList(costs: Readonly<Record<string, number | bigint>>) {
  return Object.entries(costs).map(([unit, amount]) => {
    if (typeof amount !== "bigint" && !Number.isSafeInteger(amount)) {
      throw refusal("INVALID_REQUEST", `costs.${unit} must be a whole number, but is ${amount}.`);
    }
    return create(CostSchema, { unit, amount: BigInt(amount) });
  });
}

function duration(name: string, ms: number): Duration {
  if (Number.isFinite(ms)) return durationFromMs(Math.round(ms));
  throw refusal("INVALID_REQUEST", `${name} must be a number of milliseconds, but is ${ms}.`);
}

function timestamp(date: Date) {
  if (!Number.isNaN(date.getTime())) return timestampFromDate(date);
  throw refusal("INVALID_REQUEST", "runTime is not a valid date.");
}

function checkText(name: string, text: unknown): void {
  if (typeof text !== "string") throw refusal("INVALID_REQUEST", `${name} must be a string, but is a ${typeof text}.`);
  if (!text.isWellFormed()) throw refusal("INVALID_REQUEST", `${name} holds half a character (a lone surrogate).`);
}

function checkEncodable(spec: TaskSpec): void {
  try {
    toBinary(TaskSpecSchema, spec);
  } catch (thrown) {
    if (thrown instanceof LegionError) throw thrown;
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw refusal("INVALID_REQUEST", `The task's options cannot be sent: ${why.replace(/^cannot encode /, "")}`);
  }
}
