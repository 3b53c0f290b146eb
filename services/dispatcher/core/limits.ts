import type { Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { hasLabels, labelPairs } from "./route.ts";

/** Whether a limit counts a task. The RateLimit service decides by the same rule; asking it where none applies is waste. */
export function appliesTo(limit: Limit, task: TaskSpec): boolean {
  if (limit.namespace !== task.namespace) return false;
  const { selector } = limit;
  if (selector === undefined) return true;
  if (selector.capabilities.length > 0 && !selector.capabilities.includes(task.capability)) return false;
  if (selector.users.length > 0 && !selector.users.includes(task.user)) return false;
  return selector.labels.length === 0 || hasLabels(new Map(labelPairs(task.labels)), labelPairs(selector.labels));
}

/** Whether a task may pass uncounted while the limits' arbiter is away. */
export function passesUncounted(limits: readonly Limit[]): boolean {
  return limits.every((limit) => limit.whenUnreachable === WhenUnreachable.FAIL_OPEN);
}
