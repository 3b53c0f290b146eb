import { create, toBinary } from "@bufbuild/protobuf";
import type { Message } from "@bufbuild/protobuf";
import { fileDesc, messageDesc, serviceDesc } from "@bufbuild/protobuf/codegenv2";
import type { GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
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
const serving = 1;

// The part of grpc.health.v1 that is needed: a question without content, answered with a number.
const status = { name: "status", number: 1, label: FieldDescriptorProto_Label.OPTIONAL };
const prefix = ".grpc.health.v1.HealthCheck";
const file = fileDesc(
  toBinary(
    FileDescriptorProtoSchema,
    create(FileDescriptorProtoSchema, {
      name: "grpc/health/v1/health.proto",
      package: "grpc.health.v1",
      syntax: "proto3",
      messageType: [
        { name: "HealthCheckRequest" },
        { name: "HealthCheckResponse", field: [{ ...status, type: FieldDescriptorProto_Type.INT32 }] },
      ],
      service: [
        {
          name: "Health",
          method: [{ name: "Check", inputType: `${prefix}Request`, outputType: `${prefix}Response` }],
        },
      ],
    }),
  ).toBase64(),
);
type CheckRequest = GenMessage<Message<"grpc.health.v1.HealthCheckRequest">>;
type CheckResponse = GenMessage<Message<"grpc.health.v1.HealthCheckResponse"> & { status: number }>;
const request: CheckRequest = messageDesc(file, 0);
const response: CheckResponse = messageDesc(file, 1);
const Health: GenService<{ check: { methodKind: "unary"; input: typeof request; output: typeof response } }> =
  serviceDesc(file, 0);

/** Asks a service itself how it is, as Kubernetes does. Never rejects. */
export async function probe(channel: GrpcChannel): Promise<ProbeResult> {
  try {
    const answer = await createClient(Health, channel).check({}, { timeoutMs: probeTimeoutMs });
    if (answer.status === serving) return { status: "serving", message: "" };
    return { status: "not_serving", message: "it says that it is not ready" };
  } catch (thrown) {
    const { code, message } = toLegionError(thrown);
    if (code === "UNIMPLEMENTED" || code === "NOT_FOUND") return { status: "not_serving", message };
    if (code === "DEADLINE_EXCEEDED") return { status: "unreachable", message: "no answer within 3 s" };
    return { status: "unreachable", message: /connect E\w+|ENOTFOUND|EAI_AGAIN/.exec(message)?.[0] ?? message };
  }
}
