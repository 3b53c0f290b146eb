import { migrateAll } from "#libs/cli/dev/migrations.ts";
import { freePortBase } from "../../harness/free-ports.ts";
import { testDatabase } from "../../harness/postgres.ts";
import type { Provocation } from "../stage.ts";
import { registryOn } from "./database.ts";

const noMesh: Provocation = async (stage) => {
  const { shell } = stage;
  const base = await freePortBase();
  shell.env["LEGION_PORT_BASE"] = String(base);
  shell.alias(base + 2, 7402);
  await shell.run(`legion run greet '{"name":"Ada"}'`);
  await stage.mesh();
  await shell.run(`legion run greet '{"name":"Ada"}'`);
};

const httpPort: Provocation = async (stage) => {
  const mesh = await stage.mesh();
  await stage.shell.run(`LEGION_DISPATCHER=127.0.0.1:${mesh.dispatcher.httpPort} legion run greet '{"name":"Ada"}'`);
  await stage.shell.run(`LEGION_DISPATCHER=${mesh.dispatcher.address} legion run greet '{"name":"Ada"}'`);
};

const otherService: Provocation = async (stage) => {
  const mesh = await stage.mesh();
  await stage.shell.run(`LEGION_DISPATCHER=${mesh.registry.address} legion run greet '{"name":"Ada"}'`);
  await stage.shell.run(`LEGION_DISPATCHER=${mesh.dispatcher.address} legion run greet '{"name":"Ada"}'`);
};

const grpcPortOverHttp: Provocation = async (stage) => {
  const mesh = await stage.mesh();
  const call = "legion.dispatcher.v1.DispatcherService/GetMetrics";
  await stage.shell.run(
    `curl -sS -d '{}' -H 'content-type: application/json' http://${mesh.dispatcher.address}/${call}`,
  );
  await stage.shell.run(`curl -sS -d '{}' -H 'content-type: application/json' ${mesh.dispatcher.httpAddress}/${call}`);
};

const origin: Provocation = async (stage) => {
  const { connectionString } = stage.use(await testDatabase());
  await migrateAll(connectionString);
  const { shell } = stage;
  const ask = async (settings: string): Promise<void> => {
    const registry = await registryOn(stage, connectionString, settings);
    await registry.prints(/listening/);
    const asked = "-H 'origin: https://console.example' -H 'access-control-request-method: POST'";
    await shell.run(
      `curl -si -X OPTIONS ${asked} ${registry.httpAddress}/legion.registry.v1.RegistryService/ListAgents`,
    );
    await registry.stop("SIGTERM");
  };
  await ask("");
  await ask("ALLOWED_ORIGINS=https://console.example ");
};

export const reaching = {
  "no-mesh": noMesh,
  "http-port": httpPort,
  "other-service": otherService,
  "grpc-port-over-http": grpcPortOverHttp,
  origin,
};
