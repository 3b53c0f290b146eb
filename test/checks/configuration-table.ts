import { describeEnv, type EnvSpec } from "#libs/config/env.ts";
import { env as dispatcher } from "../../services/dispatcher/config.ts";
import { env as ratelimit } from "../../services/ratelimit/config.ts";
import { env as registry } from "../../services/registry/config.ts";
import { env as watchdog } from "../../services/watchdog/config.ts";

const services: Readonly<Record<string, EnvSpec>> = { registry, dispatcher, ratelimit, watchdog };

/** docs/configuration.md, made from what the services declare. */
export function configurationPage(): string {
  const shared = Object.keys(registry).filter(
    (name) => !name.endsWith("_PORT") && Object.values(services).every((spec) => name in spec),
  );
  const ports = Object.entries(services).map(
    ([name, spec]) => `| ${name} | ${spec["GRPC_PORT"]?.defaultText} | ${spec["HTTP_PORT"]?.defaultText} |`,
  );
  const own = Object.entries(services).flatMap(([name, spec]) => {
    const entries = Object.entries(spec).filter(([key]) => !shared.includes(key));
    return [`## ${name}`, "", ...describeEnv(Object.fromEntries(entries)), ""];
  });
  return [
    "# Configuration",
    "",
    "Each service reads its environment when it starts and refuses to start with a sentence for every variable that cannot be",
    "used. Empty counts as unset. This page is made from the services' own declarations: `npm run docs`.",
    "",
    "`legion dev` (what `npm start` runs) sets the ports and addresses of its services itself, from `--port-base`.",
    "",
    "## All services",
    "",
    ...describeEnv(Object.fromEntries(Object.entries(registry).filter(([name]) => shared.includes(name)))),
    "",
    "The SDK of OpenTelemetry also reads `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_SERVICE_NAME`,",
    "`OTEL_RESOURCE_ATTRIBUTES` and `OTEL_TRACES_SAMPLER` with their standard meanings.",
    "",
    "| Service | gRPC | HTTP |",
    "| --- | ---: | ---: |",
    ...ports,
    "",
    ...own,
    "## The `legion` command and the SDKs",
    "",
    "| Variable | Default | What it is for |",
    "| --- | --- | --- |",
    "| `LEGION_REGISTRY` | 127.0.0.1:7401 | where agents connect |",
    "| `LEGION_DISPATCHER` | 127.0.0.1:7402 | where tasks are sent |",
    "| `LEGION_RATELIMIT` | 127.0.0.1:7403 | for `legion health` |",
    "| `LEGION_WATCHDOG` | 127.0.0.1:7404 | for `legion health` |",
    "| `LEGION_PORT_BASE` | 7400 | all four at once: the gRPC ports are this plus 1 to 4 |",
    "| `JAEGER_URL` | http://127.0.0.1:16686 | for `legion trace`: Jaeger's query API |",
    "| `DATABASE_URL` | – | for `legion migrate`; for `npm start`: this Postgres instead of the embedded one |",
    "| `NO_COLOR` | – | any value: no colours |",
    "",
  ].join("\n");
}
