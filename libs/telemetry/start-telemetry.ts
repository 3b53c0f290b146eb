import type { IncomingMessage, ServerResponse } from "node:http";
import { hostname } from "node:os";
import { context, diag, DiagLogLevel, logs, metrics, propagation, trace } from "@opentelemetry/api";
import {
  defaultResource,
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from "@opentelemetry/resources";
import { MeterProvider } from "@opentelemetry/sdk-metrics";
import { type EnvOf, readEnv } from "#libs/config/env.ts";
import { maskSecrets } from "#libs/config/mask-secrets.ts";
import { sdkWarnings } from "./sdk-warnings.ts";
import { telemetryEnv } from "./env.ts";
import { createLogger, type Logger } from "./logger.ts";
import { observeProcess } from "./process-metrics.ts";
import { PrometheusReader } from "./prometheus-reader.ts";
import { createTraceExporter, reportChanges } from "./trace-exporter.ts";

export interface TelemetryOptions {
  /** `service.name`; OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES in the environment override it. */
  readonly serviceName: string;
  readonly serviceVersion: string;
  /** What tells this process from its replicas. */
  readonly instanceId: string;
  /** Told when the collector is lost and found. Default: a logger of the service's own. */
  readonly log?: Logger;
}

export interface Telemetry extends AsyncDisposable {
  /** Whether spans are exported. */
  readonly tracing: boolean;
  /** Answers a scrape in Prometheus's text format. */
  metricsHandler(request: IncomingMessage, response: ServerResponse): void;
}

// Within the 4 s that a service has to stop in.
const flushLimitMs = 2_000;

/**
 * Registers the process's one meter provider and, when an OTLP endpoint is set, its one tracer provider. Call it before
 * any instrument is created: the metrics API hands out dead ones until then. Disposing it sends what is left, for at
 * most 2 s.
 * @throws ConfigError when a variable of `telemetryEnv` cannot be used.
 */
export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const env = readEnv(telemetryEnv, process.env);
  const log = options.log ?? createLogger({ service: options.serviceName });
  diag.setLogger(sdkWarnings(log), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });

  const resource = describeProcess(options);
  const prometheus = new PrometheusReader();
  const meterProvider = new MeterProvider({ resource, readers: [prometheus] });
  metrics.setGlobalMeterProvider(meterProvider);
  const processMetrics = observeProcess();

  const stopTracing = await startTracing(resource, env, log);
  return {
    tracing: stopTracing !== undefined,
    metricsHandler: (request, response) => prometheus.getMetricsRequestHandler(request, response),
    async [Symbol.asyncDispose]() {
      await within(flushLimitMs, stopTracing?.());
      processMetrics[Symbol.dispose]();
      await meterProvider.shutdown();
      for (const api of [trace, metrics, logs, context, propagation, diag]) api.disable();
    },
  };
}

async function startTracing(
  resource: Resource,
  env: EnvOf<typeof telemetryEnv>,
  log: Logger,
): Promise<(() => Promise<void>) | undefined> {
  const endpoint = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? env.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (endpoint === undefined || env.OTEL_SDK_DISABLED || env.OTEL_TRACES_EXPORTER === "none") return undefined;

  // Loaded only here: importing sdk-node takes 190 ms, which a service without traces need not wait for.
  const [{ NodeSDK }, { BatchSpanProcessor }] = await Promise.all([
    import("@opentelemetry/sdk-node"),
    import("@opentelemetry/sdk-trace"),
  ]);
  const exporter = await createTraceExporter(env.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL ?? env.OTEL_EXPORTER_OTLP_PROTOCOL);
  const sdk = new NodeSDK({
    resource,
    autoDetectResources: false,
    metricReaders: [],
    logRecordProcessors: [],
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: reportChanges(exporter, maskSecrets(endpoint), log),
        scheduledDelayMillis: env.OTEL_BSP_SCHEDULE_DELAY,
        maxQueueSize: env.OTEL_BSP_MAX_QUEUE_SIZE,
        maxExportBatchSize: env.OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
        exportTimeoutMillis: env.OTEL_BSP_EXPORT_TIMEOUT,
      }),
    ],
  });
  sdk.start();
  return () => sdk.shutdown();
}

function describeProcess({ serviceName, serviceVersion, instanceId }: TelemetryOptions): Resource {
  const own = resourceFromAttributes({
    "service.name": serviceName,
    "service.version": serviceVersion,
    "service.instance.id": instanceId,
    "host.name": hostname(),
    "process.pid": process.pid,
  });
  // Not the SDK's process detector: it would publish the command line, which may hold a DATABASE_URL.
  return defaultResource()
    .merge(own)
    .merge(detectResources({ detectors: [envDetector] }));
}

async function within(limitMs: number, work: Promise<void> | undefined): Promise<void> {
  const { promise: limit, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, limitMs);
  await Promise.race([work, limit]).finally(() => clearTimeout(timer));
}
