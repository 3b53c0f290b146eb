import { duration, type EnvOf, hostPortList, integer, readEnv } from "#libs/config/env.ts";
import { hostEnv } from "#libs/service/host-env.ts";

export const env = {
  ...hostEnv({ grpcPort: 7404, httpPort: 7414, poolSize: 3 }),
  LEGION_REGISTRY: hostPortList({
    doc: "The Registries that are told which version gets how much work; the next one is asked when one does not answer",
    default: "127.0.0.1:7401",
  }),
  STAGE_EXECUTIONS: integer({
    doc: "Executions without a verdict that bring a canary to its next stage, unless the policy of its name says otherwise",
    default: 200,
    min: 20,
    max: 1_000_000,
  }),
  MAX_SHARE: integer({
    doc: "Of the live agents of a name, in percent, so many are taken out at once at most (but one at least)",
    default: 50,
    min: 1,
    max: 100,
  }),
  EJECTION_REST: duration({
    doc: "An ejected agent's first rest; each further one within a day is twice as long, up to an hour",
    default: "60s",
    min: "1s",
    max: "1h",
  }),
  REVIEW_INTERVAL: duration({
    doc: "A version with a bad verdict that no other one can relieve is judged anew after so long",
    default: "1m",
    min: "100ms",
    max: "1d",
  }),
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
    default: "250ms",
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
