import { bytes, ConfigError, duration, type EnvOf, hostPortList, readEnv } from "#libs/config/env.ts";
import { hostEnv } from "#libs/service/host-env.ts";

export const env = {
  ...hostEnv({ grpcPort: 7401, httpPort: 7411, poolSize: 3 }),
  LEGION_DISPATCHER: hostPortList({
    doc: "Every Dispatcher; a name that stands for several addresses means all of them",
    default: "127.0.0.1:7402",
  }),
  HEARTBEAT_INTERVAL: duration({
    doc: "How often agents and Registry are heard from at least",
    default: "3s",
    min: "50ms",
    max: "1h",
  }),
  SESSION_LEASE: duration({
    doc: "For how long a session from which nothing is heard is kept; at least twice HEARTBEAT_INTERVAL",
    default: "10s",
    min: "200ms",
    max: "24h",
  }),
  MAX_RESULT_BYTES: bytes({ doc: "Largest result of a task", default: "2MiB", min: "1KiB", max: "3.5MiB" }),
};

export type RegistryConfig = EnvOf<typeof env>;

/** @throws ConfigError */
export function readConfig(environment: NodeJS.ProcessEnv): RegistryConfig {
  const config = readEnv(env, environment);
  if (config.SESSION_LEASE < 2 * config.HEARTBEAT_INTERVAL) {
    throw new ConfigError([
      `SESSION_LEASE (${config.SESSION_LEASE} ms) must be at least twice HEARTBEAT_INTERVAL (${config.HEARTBEAT_INTERVAL} ms), ` +
        "or agents that heartbeat in time would lose their sessions",
    ]);
  }
  return config;
}
