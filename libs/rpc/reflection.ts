import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescFile } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { DescriptorProto } from "@bufbuild/protobuf/wkt";
import type { Server } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { service as health } from "grpc-health-check";
import { file_google_rpc_error_details } from "#libs/proto/google/rpc/error_details_pb.ts";

/** Lets tools such as grpcurl ask a server for its services, from the descriptors of our generated code. */
export function addReflection(server: Server, files: DescFile[]): void {
  // Error details are found nowhere in the services' own files, and tools want to show them.
  const ours = withDependencies([...files, file_google_rpc_error_details]).map((file) =>
    Buffer.from(toBinary(FileDescriptorProtoSchema, file.proto)),
  );
  const theirs = Object.values(health).flatMap((method) => method.requestType.fileDescriptorProtos.map(corrected));
  // The library reads the descriptors alone; this is the one of its formats that asks for nothing else.
  const format = "Protocol Buffer 3 EnumDescriptorProto" as const;
  const definition = { format, type: {}, fileDescriptorProtos: [...ours, ...theirs] };
  new ReflectionService({ definition }).addToServer(server);
}

/**
 * What proto-loader says of a message with a map is not valid, and it names the types of fields as they are written in the
 * source: tools refuse the whole file for either.
 */
function corrected(bytes: Uint8Array): Buffer {
  const file = fromBinary(FileDescriptorProtoSchema, bytes);
  const hasMap = ({ nestedType }: DescriptorProto) => nestedType.some(({ options }) => options?.mapEntry);
  const left = new Set(file.messageType.filter(hasMap).map(({ name }) => `${file.package}.${name}`));
  const isLeft = (typeName: string) => left.has(typeName.replace(/^\./, ""));
  file.messageType = file.messageType.filter((message) => !hasMap(message));
  for (const service of file.service) service.method = service.method.filter(({ outputType }) => !isLeft(outputType));
  for (const message of file.messageType) {
    const nested = new Set([...message.nestedType, ...message.enumType].map(({ name }) => name));
    for (const field of message.field) {
      const { typeName } = field;
      if (typeName === "" || typeName.startsWith(".")) continue;
      field.typeName = `.${file.package}.${nested.has(typeName) ? `${message.name}.` : ""}${typeName}`;
    }
  }
  return Buffer.from(toBinary(FileDescriptorProtoSchema, file));
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
