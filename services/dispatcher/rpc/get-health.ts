import { create } from "@bufbuild/protobuf";
import {
  GetHealthResponseSchema,
  type GetHealthResponse,
} from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";

export interface HealthFacts {
  readonly databaseAnswers: boolean;
  readonly links: number;
  readonly activeAgents: number;
  readonly rateLimitAnswers: boolean;
  readonly watchdogAnswers: boolean;
  readonly uptimeSeconds: number;
}

export function getHealth(facts: HealthFacts): GetHealthResponse {
  const registry = facts.links > 0;
  const works = facts.databaseAnswers && registry;
  const complete = facts.rateLimitAnswers && facts.watchdogAnswers;
  return create(GetHealthResponseSchema, {
    status: works ? (complete ? "healthy" : "degraded") : "unhealthy",
    agents: BigInt(facts.activeAgents),
    database: facts.databaseAnswers ? "connected" : "disconnected",
    uptime: facts.uptimeSeconds,
    services: [
      service("registry", registry, "no Registry is linked to this Dispatcher; agents get no work"),
      service("dispatcher", facts.databaseAnswers, "the database does not answer; tasks are not accepted"),
      service(
        "ratelimit",
        facts.rateLimitAnswers,
        "it does not answer; tasks under a limit are refused unless the limit fails open",
      ),
      service("watchdog", facts.watchdogAnswers, "it does not answer; executions are not judged"),
    ],
  });
}

function service(name: string, serves: boolean, otherwise: string) {
  return { name, status: serves ? "serving" : "not_serving", message: serves ? "" : otherwise };
}
