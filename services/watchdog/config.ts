import { duration, type EnvOf, integer, readEnv } from "#libs/config/env.ts";
import { hostEnv } from "#libs/service/host-env.ts";

export const env = {
  ...hostEnv({ grpcPort: 7404, httpPort: 7414 }),
  AGENT_RINGS: integer({
    doc: "Agents whose last 1,000 executions are kept in memory, up to 21 KB each",
    default: 20_000,
    min: 10,
    max: 1_000_000,
  }),
  VERSION_RINGS: integer({
    doc: "Versions, by capability, whose last 1,000 executions are kept in memory, up to 21 KB each",
    default: 5_000,
    min: 10,
    max: 1_000_000,
  }),
  JUDGE_INTERVAL: duration({
    doc: "The rest between two rounds of judging what has new executions",
    default: "1s",
    min: "10ms",
    max: "1m",
  }),
  SAMPLE_RETENTION: duration({
    doc: "How long an agent that reports nothing is remembered",
    default: "30d",
    min: "1d",
    max: "366d",
  }),
  BATCH_RETENTION: duration({
    doc: "How long a batch_id is known, so that the same batch is not counted again",
    default: "24h",
    min: "1m",
    max: "30d",
  }),
} as const;

export type WatchdogConfig = EnvOf<typeof env>;

export function readConfig(from: NodeJS.ProcessEnv): WatchdogConfig {
  return readEnv(env, from);
}
