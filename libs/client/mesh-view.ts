import type { GetHealthResponse, GetMetricsResponse } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";

export interface MeshMetrics {
  /** Agents ever seen. */
  readonly totalAgents: number;
  /** Agents that have a session. */
  readonly activeAgents: number;
  /** Attempts given to agents. This and the counters below survive restarts. */
  readonly tasksDispatched: number;
  readonly tasksCompleted: number;
  /** Ended `FAILED` or `DEAD`. */
  readonly tasksFailed: number;
  readonly tasksSubmitted: number;
  readonly tasksCanceled: number;
  /** Of `tasksFailed`, those out of attempts. */
  readonly tasksDead: number;
  /** Waiting for an agent now. */
  readonly tasksQueued: number;
  /** Waiting for their time now. */
  readonly tasksScheduled: number;
  /** Held by agents now. */
  readonly tasksLeased: number;
}

export interface MeshHealth {
  /** `healthy`, `degraded` or `unhealthy`. */
  readonly status: string;
  /** Agents that have a session. */
  readonly agents: number;
  /** `connected` or `disconnected`. */
  readonly database: string;
  /** Seconds since the Dispatcher that answered was started. */
  readonly uptime: number;
  readonly services: readonly { readonly name: string; readonly status: string; readonly message: string }[];
}

export function meshMetrics(metrics: GetMetricsResponse): MeshMetrics {
  return {
    totalAgents: Number(metrics.totalAgents),
    activeAgents: Number(metrics.activeAgents),
    tasksDispatched: Number(metrics.tasksDispatched),
    tasksCompleted: Number(metrics.tasksCompleted),
    tasksFailed: Number(metrics.tasksFailed),
    tasksSubmitted: Number(metrics.tasksSubmitted),
    tasksCanceled: Number(metrics.tasksCanceled),
    tasksDead: Number(metrics.tasksDead),
    tasksQueued: Number(metrics.tasksQueued),
    tasksScheduled: Number(metrics.tasksScheduled),
    tasksLeased: Number(metrics.tasksLeased),
  };
}

export function meshHealth(health: GetHealthResponse): MeshHealth {
  const { status, agents, database, uptime } = health;
  const services = health.services.map((service) => ({
    name: service.name,
    status: service.status,
    message: service.message,
  }));
  return { status, agents: Number(agents), database, uptime, services };
}
