import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import java.util.Map;

/** Sends a program's spans to the collector that the environment names. */
final class Telemetry implements AutoCloseable {
    private final OpenTelemetrySdk sdk;

    private Telemetry(OpenTelemetrySdk sdk) {
        this.sdk = sdk;
    }

    /** Without OTEL_EXPORTER_OTLP_ENDPOINT no spans are made. Other variables of OpenTelemetry count as ever. */
    static Telemetry start(String service) {
        if (System.getenv().getOrDefault("OTEL_EXPORTER_OTLP_ENDPOINT", "").isBlank()) {
            GlobalOpenTelemetry.set(OpenTelemetry.noop());
            return new Telemetry(null);
        }
        var defaults = Map.of(
                "otel.service.name", service,
                "otel.exporter.otlp.protocol", "http/protobuf",
                "otel.metrics.exporter", "none",
                "otel.logs.exporter", "none");
        return new Telemetry(AutoConfiguredOpenTelemetrySdk.builder()
                .addPropertiesSupplier(() -> defaults)
                .disableShutdownHook()
                .setResultAsGlobal()
                .build()
                .getOpenTelemetrySdk());
    }

    /** Sends what is left. */
    @Override
    public void close() {
        if (sdk != null) {
            sdk.close();
        }
    }
}
