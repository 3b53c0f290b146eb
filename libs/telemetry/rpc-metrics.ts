import { metrics } from "@opentelemetry/api";
import { latencyBuckets } from "./metrics.ts";

/** A call that a server has finished. */
export interface FinishedCall {
  /** With its package: `legion.dispatcher.v1.DispatcherService`. */
  readonly service: string;
  readonly method: string;
  /** gRPC's name of the status code: `OK`, `NOT_FOUND`. */
  readonly code: string;
  readonly durationMs: number;
}

export interface RpcMetrics {
  onCall(call: FinishedCall): void;
}

/**
 * `rpc_server_duration_seconds`: OpenTelemetry's `rpc.server.duration`, with the names and unit it has in Prometheus.
 * Call it after `startTelemetry`.
 */
export function createRpcMetrics(): RpcMetrics {
  const duration = metrics.getMeter("legion").createHistogram("rpc_server_duration_seconds", {
    description: "Duration of calls served",
    advice: { explicitBucketBoundaries: [...latencyBuckets] },
  });
  return {
    onCall({ service, method, code, durationMs }) {
      duration.record(durationMs / 1_000, {
        rpc_system: "grpc",
        rpc_service: service,
        rpc_method: method,
        rpc_status_code: code,
      });
    },
  };
}
