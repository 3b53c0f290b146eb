import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { legionError } from "./errors.ts";
import type { Reason } from "./errors.ts";

/** grpc-js is given bytes and gives bytes: so a message that does not decode is answered by us, with a reason. */
export const asIs = (bytes: Buffer): Buffer => bytes;

export function encode<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): Buffer {
  const bytes = toBinary(schema, create(schema, message));
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** @throws ConnectError with the reason given, when the bytes are no such message */
export function decode<Desc extends DescMessage>(schema: Desc, bytes: Buffer, reason: Reason): MessageShape<Desc> {
  try {
    return fromBinary(schema, bytes);
  } catch {
    throw legionError(reason, `The bytes received are not a valid ${schema.typeName}.`);
  }
}

/** The HTTP/2 path of a method. */
export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}
