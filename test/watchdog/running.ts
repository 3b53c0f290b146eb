import { fileURLToPath } from "node:url";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { migrate } from "#libs/db/migrate.ts";
import { ExecutionResult } from "#libs/proto/legion/watchdog/v1/sample_pb.ts";
import { WatchdogService } from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import { readConfig } from "../../services/watchdog/config.ts";
import { startWatchdog } from "../../services/watchdog/service.ts";

const directory = fileURLToPath(new URL("../../services/watchdog/sql/migrations/", import.meta.url));

/** A Watchdog in this process, on free ports, with a client over real gRPC. */
export async function runWatchdog(connectionString: string, env: Record<string, string> = {}) {
  await using stack = new AsyncDisposableStack();
  await migrate(connectionString, { schema: "watchdog", directory });
  const config = readConfig({
    DATABASE_URL: connectionString,
    POOL_SIZE: "4",
    BIND_HOST: "127.0.0.1",
    GRPC_PORT: "0",
    HTTP_PORT: "0",
    JUDGE_INTERVAL: "20ms",
    // Nobody answers there: nothing is known but what is reported.
    LEGION_REGISTRY: "127.0.0.1:1",
    ...env,
  });
  const service = stack.use(await startWatchdog(config));
  const channel = stack.use(new GrpcChannel(`127.0.0.1:${service.grpcPort}`));
  const owned = stack.move();
  return {
    client: createClient(WatchdogService, channel),
    httpUrl: `http://127.0.0.1:${service.httpPort}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export interface Executed {
  namespace?: string;
  agentId: string;
  name?: string;
  version?: string;
  capability?: string;
  durationMs?: number;
}

/** `count` samples, the first `failures` of them failed. */
export function executed(of: Executed, count: number, failures = 0) {
  const { durationMs = 10, ...who } = of;
  return Array.from({ length: count }, (_, i) => ({
    name: "greeter",
    version: "1",
    capability: "greet",
    ...who,
    duration: { seconds: 0n, nanos: Math.round(durationMs * 1e6) },
    result: i < failures ? ExecutionResult.FAILED : ExecutionResult.COMPLETED,
    memoryBeforeBytes: 1_000_000n,
    memoryAfterBytes: 1_000_001n,
  }));
}
