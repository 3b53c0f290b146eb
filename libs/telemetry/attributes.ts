/**
 * Names of span attributes. Those of OpenTelemetry's messaging and RPC conventions are written out because the package
 * publishes them under an entry point whose contents may change in any release; the rest is Legion's own.
 */
export const attribute = {
  messagingSystem: "messaging.system",
  /** `create`, `send`, `receive`, `process` or `settle`. */
  messagingOperationType: "messaging.operation.type",
  /** Legion's own word for it: `submit`, `assign`, `execute`. */
  messagingOperationName: "messaging.operation.name",
  /** The capability. */
  messagingDestinationName: "messaging.destination.name",
  /** The task id. */
  messagingMessageId: "messaging.message.id",
  messagingBatchMessageCount: "messaging.batch.message_count",
  /** Bytes. */
  messagingMessageBodySize: "messaging.message.body.size",
  rpcSystem: "rpc.system",
  rpcService: "rpc.service",
  rpcMethod: "rpc.method",
  /** gRPC's name of the status code. */
  rpcStatusCode: "rpc.status_code",
  errorType: "error.type",
  namespace: "legion.namespace",
  attempt: "legion.attempt",
  agentId: "legion.agent.id",
  agentName: "legion.agent.name",
  agentVersion: "legion.agent.version",
  sessionId: "legion.session.id",
  /** `completed`, `failed` or `canceled`. */
  outcome: "legion.outcome",
  retryable: "legion.retryable",
  /** Milliseconds. */
  queueWaitMs: "legion.queue_wait_ms",
} as const;

/** The value of `messaging.system` on all our spans. */
export const messagingSystem = "legion";
