import { PrometheusExporter } from "@opentelemetry/exporter-prometheus";
import { AggregationTemporality, InstrumentType } from "@opentelemetry/sdk-metrics";

/** The metrics for Prometheus, without a server of its own: the service's HTTP port answers. */
export class PrometheusReader extends PrometheusExporter {
  constructor() {
    super({ preventServerStart: true, withoutScopeInfo: true });
  }

  // Cumulative gauges repeat a label set for ever once it was observed: the sessions of a version long gone.
  override selectAggregationTemporality(type: InstrumentType): AggregationTemporality {
    return type === InstrumentType.OBSERVABLE_GAUGE ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE;
  }
}
