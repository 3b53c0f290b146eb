import { create } from "@bufbuild/protobuf";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import {
  GetMetricsResponseSchema,
  type GetMetricsResponse,
} from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { readCounters } from "../sql/counters.ts";

export async function getMetrics(
  pool: ConnectionPool,
  agents: { readonly totalAgents: number; readonly activeAgents: number },
): Promise<GetMetricsResponse> {
  const counters = await readCounters(pool);
  return create(GetMetricsResponseSchema, {
    totalAgents: BigInt(Math.max(agents.totalAgents, counters.total_agents)),
    activeAgents: BigInt(agents.activeAgents),
    tasksDispatched: BigInt(counters.dispatched),
    tasksCompleted: BigInt(counters.completed),
    tasksFailed: BigInt(counters.failed),
    tasksSubmitted: BigInt(counters.submitted),
    tasksCanceled: BigInt(counters.canceled),
    tasksDead: BigInt(counters.dead),
    tasksQueued: BigInt(counters.queued),
    tasksScheduled: BigInt(counters.scheduled),
    tasksLeased: BigInt(counters.leased),
    tasksParked: BigInt(counters.parked),
  });
}
