import type { Cost } from "#libs/proto/legion/common/v1/cost_pb.ts";
import type { ExecutionStats } from "#libs/proto/legion/common/v1/execution_stats_pb.ts";
import type { Attempt } from "./attempt.ts";
import type { MemoryGauge } from "./memory.ts";
import { duration } from "./messages.ts";

const none: Cost[] = [];

/** What is told about an execution that ends now. */
export function executionStats({ startedMs, memoryBeforeBytes, costs }: Attempt, memory: MemoryGauge): ExecutionStats {
  const nowMs = performance.now();
  return {
    $typeName: "legion.common.v1.ExecutionStats",
    duration: duration(nowMs - startedMs),
    memoryBeforeBytes,
    memoryAfterBytes: memory.residentBytes(nowMs),
    heapAfterCollectionBytes: memory.heapAfterCollectionBytes,
    costs: costs === undefined ? none : Array.from(costs, toCost),
  };
}

function toCost([unit, amount]: [string, bigint]): Cost {
  return { $typeName: "legion.common.v1.Cost", unit, amount };
}
