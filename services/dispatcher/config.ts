import { bytes, duration, hostPortList, readEnv, type EnvOf } from "#libs/config/env.ts";
import { hostEnv } from "#libs/service/host-env.ts";

export const env = {
  ...hostEnv({ grpcPort: 7402, httpPort: 7412, poolSize: 10 }),
  LEGION_RATELIMIT: hostPortList({
    doc: "RateLimit; of several, or of a name that stands for several addresses, each call asks the next",
    default: "127.0.0.1:7403",
  }),
  LEGION_WATCHDOG: hostPortList({ doc: "Watchdog, likewise", default: "127.0.0.1:7404" }),
  MAX_TASK_DATA_BYTES: bytes({ doc: "Largest input of a task", default: "2MiB", min: "1KiB", max: "3.5MiB" }),
  MAX_RESULT_BYTES: bytes({ doc: "Largest result of a task", default: "2MiB", min: "1KiB", max: "3.5MiB" }),
  RETENTION: duration({ doc: "How long a finished task is kept at least", default: "7d", min: "1h", max: "3650d" }),
  SESSION_GRACE: duration({
    doc: "How long a session whose Registry is gone may take to come back before its work is given to others",
    default: "20s",
    min: "1s",
    max: "10m",
  }),
  INSTANCE_LEASE: duration({
    doc: "A Dispatcher that does not renew its lease for this long loses its tasks to the others",
    default: "10s",
    min: "1s",
    max: "5m",
  }),
};

export type DispatcherConfig = EnvOf<typeof env>;

/** @throws ConfigError that names every variable that cannot be used. */
export function readConfig(variables: NodeJS.ProcessEnv): DispatcherConfig {
  return readEnv(env, variables);
}
