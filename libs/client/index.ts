export type { TaskFailure } from "./errors.ts";
export { LegionError, TaskCanceledError, TaskFailedError, WaitTimeoutError } from "./errors.ts";
export type { JsonObject, JsonValue } from "./json.ts";
export type { DispatchOptions, LegionCoreOptions, ListTasksOptions } from "./legion-core.ts";
export { LegionCore } from "./legion-core.ts";
export type { MeshHealth, MeshMetrics } from "./mesh-view.ts";
export type { WaitOptions } from "./pending-task.ts";
export type { AgentHandler, AgentLike, RegisterOptions } from "./registered-agent.ts";
export type { TaskHandle } from "./task-handle.ts";
export type { RetryOptions, TaskOptions } from "./task-spec.ts";
export type { OutcomeView, ProgressView, TaskEventView, TaskStateName, TaskView } from "./task-view.ts";
export {
  closeMeshLimits,
  type Limiter,
  rateLimit,
  RateLimitedError,
  type RateLimitOptions,
  SlidingWindowLimiter,
  TokenBucketLimiter,
} from "#libs/limits/index.ts";
