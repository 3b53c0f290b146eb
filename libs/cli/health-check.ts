import { Health, HealthCheckResponse_ServingStatus as Status } from "#libs/proto/grpc/health/v1/health_pb.ts";
import { toLegionError } from "#libs/client/errors.ts";
import { createClient } from "#libs/rpc/grpc-client.ts";
import type { GrpcChannel } from "#libs/rpc/grpc-client.ts";

export type ServingStatus = "serving" | "not_serving" | "unreachable";

export interface ProbeResult {
  readonly status: ServingStatus;
  /** Why, for people. Empty if it serves. */
  readonly message: string;
}

const probeTimeoutMs = 3_000;

/** Asks a service itself how it is, as Kubernetes does. Never rejects. */
export async function probe(channel: GrpcChannel): Promise<ProbeResult> {
  try {
    const answer = await createClient(Health, channel).check({}, { timeoutMs: probeTimeoutMs });
    if (answer.status === Status.SERVING) return { status: "serving", message: "" };
    return { status: "not_serving", message: "it says that it is not ready" };
  } catch (thrown) {
    const { code, message } = toLegionError(thrown);
    if (code === "UNIMPLEMENTED" || code === "NOT_FOUND") return { status: "not_serving", message };
    if (code === "DEADLINE_EXCEEDED") return { status: "unreachable", message: "no answer within 3 s" };
    return { status: "unreachable", message: /connect E\w+|ENOTFOUND|EAI_AGAIN/.exec(message)?.[0] ?? message };
  }
}
