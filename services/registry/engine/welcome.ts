import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Welcome } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Ref } from "../core/attempts.ts";
import type { Limits } from "../core/session.ts";

export function welcomeOf(sessionId: string, resumed: boolean, lost: readonly Ref[], limits: Limits): Welcome {
  return {
    $typeName: "legion.registry.v1.Welcome",
    sessionId,
    heartbeatInterval: durationFromMs(limits.heartbeatIntervalMs),
    leaseDuration: durationFromMs(limits.leaseMs),
    resumed,
    lost: lost.map(({ taskId, attempt }) => ({ $typeName: "legion.registry.v1.AttemptRef", taskId, attempt })),
    maxResultBytes: limits.maxResultBytes,
  };
}

export const drainOf = (reason: string, reconnect = false) =>
  ({ $typeName: "legion.registry.v1.Drain", reason, reconnect }) as const;
