/** One finished call, as a server saw it. */
export interface FinishedCall {
  /** Such as `legion.dispatcher.v1.DispatcherService`. */
  service: string;
  /** Such as `SubmitTask`. */
  method: string;
  /** gRPC's name of the status code, such as `NOT_FOUND`. */
  code: string;
  /** For a stream: how long it was open. */
  durationMs: number;
}

export interface RpcMetrics {
  onCall(call: FinishedCall): void;
}
