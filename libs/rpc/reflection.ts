import { toBinary } from "@bufbuild/protobuf";
import type { DescFile } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Server } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { file_google_rpc_error_details } from "#libs/proto/google/rpc/error_details_pb.ts";
import { file_grpc_health_v1_health } from "#libs/proto/grpc/health/v1/health_pb.ts";

/** Lets tools such as grpcurl ask a server for its services, from the descriptors of our generated code. */
export function addReflection(server: Server, files: DescFile[]): void {
  // Error details are found nowhere in the services' own files, and tools want to show them.
  const all = withDependencies([...files, file_google_rpc_error_details, file_grpc_health_v1_health]);
  const fileDescriptorProtos = all.map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)));
  // The library reads the descriptors alone; this is the one of its formats that asks for nothing else.
  const format = "Protocol Buffer 3 EnumDescriptorProto" as const;
  const definition = { format, type: {}, fileDescriptorProtos };
  new ReflectionService({ definition }).addToServer(server);
}

function withDependencies(files: DescFile[]): DescFile[] {
  const found = new Map<string, DescFile>();
  const visit = (file: DescFile): void => {
    if (found.has(file.name)) return;
    found.set(file.name, file);
    file.dependencies.forEach(visit);
  };
  files.forEach(visit);
  return [...found.values()];
}
