import { integer, oneOf, originList, string, url } from "#libs/config/env.ts";
import { logLevels } from "#libs/telemetry/logger.ts";
import { telemetryEnv } from "#libs/telemetry/env.ts";

export interface HostDefaults {
  readonly grpcPort: number;
  readonly httpPort: number;
  /** Three replicas of all, and one more of each during an update, fit into the 100 connections of a new Postgres. */
  readonly poolSize: number;
}

/** The variables that every service has, with the service's own defaults. */
export function hostEnv({ grpcPort, httpPort, poolSize }: HostDefaults) {
  return {
    DATABASE_URL: url({
      doc: "Postgres; each service uses a schema of its own name",
      required: true,
      schemes: ["postgres", "postgresql"],
      example: "postgres://legion:secret@localhost:5432/legion",
    }),
    POOL_SIZE: integer({ doc: "Connections to Postgres", default: poolSize, min: 2, max: 200 }),
    BIND_HOST: string({ doc: "Address the ports are opened on", default: "0.0.0.0" }),
    GRPC_PORT: integer({ doc: "gRPC; 0 takes a free one", default: grpcPort, min: 0, max: 65_535 }),
    HTTP_PORT: integer({
      doc: "HTTP: Connect (JSON), /metrics, /healthz, /readyz; 0 takes a free one",
      default: httpPort,
      min: 0,
      max: 65_535,
    }),
    ALLOWED_ORIGINS: originList({
      doc: "Web pages of other origins that browsers let call the HTTP port (CORS); unset: none",
    }),
    LOG_LEVEL: oneOf(logLevels, { doc: "The least that is logged", default: "info" }),
    ...telemetryEnv,
  };
}

export interface HostConfig {
  readonly DATABASE_URL: string;
  readonly POOL_SIZE: number;
  readonly BIND_HOST: string;
  readonly GRPC_PORT: number;
  readonly HTTP_PORT: number;
  readonly ALLOWED_ORIGINS: readonly string[] | undefined;
}
