import { duration, type EnvOf, integer, readEnv } from "#libs/config/env.ts";
import { hostEnv } from "#libs/service/host-env.ts";

export const env = {
  ...hostEnv({ grpcPort: 7403, httpPort: 7413, poolSize: 4 }),
  LIMITS_POLL_INTERVAL: duration({
    doc: "How often changed limits are looked for, beside the hints that tell of them",
    default: "500ms",
    min: "10ms",
    max: "1s",
  }),
  TOKEN_LEASE: duration({ doc: "How long leased tokens can be spent", default: "5s", min: "100ms", max: "5m" }),
  RESERVATION_RETENTION: duration({
    doc: "How long a reservation can be settled and is told from a new one",
    default: "24h",
    min: "1m",
    max: "90d",
  }),
  CLEANING_INTERVAL: duration({
    doc: "The rest between two rounds of deleting full buckets, expired leases and old reservations",
    default: "1s",
    min: "10ms",
    max: "1h",
  }),
  ACQUIRE_STATEMENTS: integer({
    doc: "Statements for Acquire that run at a time; each takes a connection",
    default: 2,
    min: 1,
    max: 32,
  }),
} as const;

export type RateLimitConfig = EnvOf<typeof env>;

export function readConfig(from: NodeJS.ProcessEnv): RateLimitConfig {
  return readEnv(env, from);
}
