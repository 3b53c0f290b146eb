import { boolean, integer, oneOf, url } from "#libs/config/env.ts";

/**
 * The standard OpenTelemetry variables that decide whether and how spans leave the process. The SDK itself also reads
 * OTEL_EXPORTER_OTLP_HEADERS, _TIMEOUT and _COMPRESSION (with their _TRACES_ forms), OTEL_SERVICE_NAME,
 * OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER(_ARG) and the span limits.
 */
export const telemetryEnv = {
  OTEL_EXPORTER_OTLP_ENDPOINT: url({
    doc: "Collector that traces are sent to; /v1/traces is added. Unset: no traces",
    example: "http://localhost:4318",
  }),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: url({
    doc: "The same, as the whole address",
    example: "http://localhost:4318/v1/traces",
  }),
  OTEL_EXPORTER_OTLP_PROTOCOL: oneOf(["http/protobuf", "grpc"], {
    doc: "How the collector is spoken to",
    default: "http/protobuf",
  }),
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: oneOf(["http/protobuf", "grpc"], { doc: "The same, for traces alone" }),
  OTEL_TRACES_EXPORTER: oneOf(["otlp", "none"], { doc: "none turns traces off", default: "otlp" }),
  OTEL_SDK_DISABLED: boolean({ doc: "true turns traces off", default: false }),
  OTEL_BSP_SCHEDULE_DELAY: integer({ doc: "Milliseconds between exports", default: 5000, min: 1 }),
  // The SDK's own 2,048 are full after 40 ms of 50,000 spans a second; 16,384 cost some 15 MB while a collector is slow.
  OTEL_BSP_MAX_QUEUE_SIZE: integer({ doc: "Spans kept for export; more are dropped", default: 16_384, min: 1 }),
  OTEL_BSP_MAX_EXPORT_BATCH_SIZE: integer({ doc: "Spans in one export", default: 1024, min: 1 }),
  OTEL_BSP_EXPORT_TIMEOUT: integer({ doc: "Milliseconds until an export is given up", default: 30_000, min: 1 }),
};
