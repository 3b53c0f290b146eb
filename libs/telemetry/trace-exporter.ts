import type { SpanExporter } from "@opentelemetry/sdk-trace";
import type { Logger } from "./logger.ts";

/** The exporter for a protocol, set up by the OTEL_EXPORTER_OTLP_* variables. */
export async function createTraceExporter(protocol: "http/protobuf" | "grpc"): Promise<SpanExporter> {
  if (protocol === "grpc") {
    const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-grpc");
    return new OTLPTraceExporter();
  }
  const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-proto");
  return new OTLPTraceExporter();
}

/**
 * Says once that the collector cannot be reached and once that it can be again, however often the exports between
 * fail. To the SDK every export succeeds, for it would log each failure.
 */
export function reportChanges(exporter: SpanExporter, endpoint: string, log: Logger): SpanExporter {
  let lost = 0;
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        // oxlint-disable-next-line typescript/no-unsafe-enum-comparison -- SUCCESS, of a package only the SDK depends on
        if (result.code === 0) {
          if (lost > 0) log.info("traces are exported again", { endpoint, spans_lost: lost });
          lost = 0;
        } else {
          if (lost === 0)
            log.warn("traces cannot be exported; nothing else is affected", { endpoint, err: result.error });
          lost += spans.length;
        }
        // oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- the same
        done({ code: 0 });
      });
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
  };
}
