import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { RateLimitService } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { readConfig } from "../../services/ratelimit/config.ts";
import { startRateLimit } from "../../services/ratelimit/service.ts";
import { migrateRateLimit } from "./store.ts";

/** A RateLimit service in this process, on free ports, with a client over real gRPC. */
export async function runRateLimit(connectionString: string, env: Record<string, string> = {}) {
  await using stack = new AsyncDisposableStack();
  await migrateRateLimit(connectionString);
  const config = readConfig({
    DATABASE_URL: connectionString,
    POOL_SIZE: "4",
    BIND_HOST: "127.0.0.1",
    GRPC_PORT: "0",
    HTTP_PORT: "0",
    ...env,
  });
  const service = stack.use(await startRateLimit(config));
  const channel = stack.use(new GrpcChannel(`127.0.0.1:${service.grpcPort}`));
  const owned = stack.move();
  return {
    client: createClient(RateLimitService, channel),
    grpcPort: service.grpcPort,
    httpUrl: `http://127.0.0.1:${service.httpPort}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export function tokens(count: number, periodMs: number, burst = 0) {
  const period = { seconds: BigInt(Math.floor(periodMs / 1_000)), nanos: (periodMs % 1_000) * 1_000_000 };
  return { case: "tokenBucket", value: { tokens: BigInt(count), period, burst: BigInt(burst) } } as const;
}
