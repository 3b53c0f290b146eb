import { once } from "node:events";
import { createServer } from "node:http";
import { migrateAll } from "#libs/cli/dev/migrations.ts";
import { freePorts } from "../../harness/free-ports.ts";
import { startOtlpCollector } from "../../harness/otlp-collector.ts";
import { testDatabase } from "../../harness/postgres.ts";
import type { Running } from "../shell.ts";
import type { Provocation, Stage } from "../stage.ts";
import { registryOn } from "./database.ts";

/** A Registry that exports spans soon, and an agent that comes and goes, which is a span. */
async function tracedRegistry(stage: Stage, settings: string): Promise<Running> {
  const { shell } = stage;
  const { connectionString } = stage.use(await testDatabase());
  await migrateAll(connectionString);
  const soon = "OTEL_BSP_SCHEDULE_DELAY=100 OTEL_EXPORTER_OTLP_TIMEOUT=1000 ";
  shell.alias(soon, "");
  const registry = await registryOn(stage, connectionString, `${soon}${settings} `);
  await registry.prints(/listening/);
  shell.env["LEGION_REGISTRY"] = registry.grpcAddress;
  const agent = shell.start("node test/troubleshooting/agent.ts slow --id visitor");
  await agent.prints(/session begun/);
  await agent.stop("SIGTERM");
  return registry;
}

const noCollector: Provocation = async (stage) => {
  const [port = 0] = await freePorts(1);
  stage.shell.alias(port, 4318);
  const registry = await tracedRegistry(stage, `OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:${port}`);
  await registry.prints(/traces cannot be exported/);
  const collector = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(200, { "content-type": "application/x-protobuf" }).end());
  });
  collector.listen(port, "127.0.0.1");
  await once(collector, "listening");
  stage.defer(() => collector.close());
  const agent = stage.shell.start("node test/troubleshooting/agent.ts slow --id visitor");
  await agent.prints(/session begun/);
  await agent.stop("SIGTERM");
  await registry.prints(/exported again/);
  await registry.stop("SIGTERM");
};

const wrongProtocol: Provocation = async (stage) => {
  const collector = stage.use(await startOtlpCollector());
  stage.shell.alias(new URL(collector.endpoint).port, 4318);
  const settings = `OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_ENDPOINT=${collector.endpoint}`;
  const wrong = await tracedRegistry(stage, settings);
  await wrong.prints(/traces cannot be exported/);
  await wrong.stop("SIGTERM");
  const right = await tracedRegistry(stage, `OTEL_EXPORTER_OTLP_ENDPOINT=${collector.endpoint}`);
  await collector.waitFor((spans) => spans.length > 0);
  await right.stop("SIGTERM");
};

export const traces = { "no-collector": noCollector, "wrong-protocol": wrongProtocol };
