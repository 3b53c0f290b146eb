import { fileURLToPath } from "node:url";
import { migrate } from "#libs/db/migrate.ts";
import { readConfig } from "../../../services/registry/config.ts";
import { type RunningRegistry, startRegistry } from "../../../services/registry/service.ts";

/** Settings with short times: a lease of two seconds, heartbeats five times as often. */
export function registryEnv(
  connectionString: string,
  dispatchers: readonly { readonly port: number }[],
  env: NodeJS.ProcessEnv = {},
): NodeJS.ProcessEnv {
  return {
    DATABASE_URL: connectionString,
    BIND_HOST: "127.0.0.1",
    GRPC_PORT: "0",
    HTTP_PORT: "0",
    LEGION_DISPATCHER: dispatchers.map(({ port }) => `127.0.0.1:${port}`).join(","),
    HEARTBEAT_INTERVAL: "400ms",
    SESSION_LEASE: "2s",
    LOG_LEVEL: "fatal",
    ...env,
  };
}

export async function migrateRegistry(connectionString: string): Promise<void> {
  const directory = fileURLToPath(new URL("../../../services/registry/sql/migrations/", import.meta.url));
  await migrate(connectionString, { schema: "registry", directory });
}

export async function startTestRegistry(
  connectionString: string,
  dispatchers: readonly { readonly port: number }[],
  env: NodeJS.ProcessEnv = {},
): Promise<RunningRegistry> {
  return await startRegistry(readConfig(registryEnv(connectionString, dispatchers, env)));
}
