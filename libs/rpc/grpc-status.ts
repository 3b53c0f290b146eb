import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AnySchema, anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Metadata, status } from "@grpc/grpc-js";
import type { StatusObject } from "@grpc/grpc-js";
import { StatusSchema, type Status } from "#libs/proto/google/rpc/status_pb.ts";

const detailsKey = "grpc-status-details-bin";
const typePrefix = "type.googleapis.com/";
// grpc-message is percent-encoded: 1 KiB of text can become 3 KiB of the commonly accepted 8 KiB of headers.
const maxMessageLength = 1024;

// Connect's codes are gRPC's by definition, but each library has its own enum of them.
const connectCodes = new Map<number, Code>(enumValues(Code).map((code) => [code, code]));
const grpcCodes = new Map<number, status>(enumValues(status).map((code) => [code, code]));

function enumValues<T extends number>(values: Record<string, T | string>): T[] {
  return Object.values(values).filter((value): value is T => typeof value === "number");
}

/** A ConnectError as grpc-js sends it, its details in `grpc-status-details-bin`. */
export function grpcStatusFromError(error: ConnectError): StatusObject {
  // encodeURI in grpc-js throws on a lone surrogate, which would leave the call without any answer.
  const message = error.rawMessage.slice(0, maxMessageLength).toWellFormed();
  const metadata = error.isWireError ? new Metadata() : metadataFromHeaders(error.metadata);
  if (error.details.length > 0) {
    metadata.set(detailsKey, Buffer.from(toBinary(StatusSchema, rpcStatusFromError(error))));
  }
  return { code: grpcCodes.get(error.code) ?? status.UNKNOWN, details: message, metadata };
}

/** A ConnectError as the message that carries one of several results of a call. */
export function rpcStatusFromError(error: ConnectError): Status {
  const details = error.details.map((detail) =>
    "desc" in detail
      ? anyPack(detail.desc, create(detail.desc, detail.value))
      : create(AnySchema, { typeUrl: typePrefix + detail.type, value: detail.value }),
  );
  const message = error.rawMessage.slice(0, maxMessageLength).toWellFormed();
  return create(StatusSchema, { code: error.code, message, details });
}

/** What grpc-js gives a caller that failed: an Error with `code`, `details` and `metadata`. */
export function isGrpcError(error: unknown): error is StatusObject {
  return (
    typeof error === "object" &&
    error !== null &&
    "code" in error &&
    typeof error.code === "number" &&
    "details" in error &&
    typeof error.details === "string" &&
    "metadata" in error
  );
}

/** A failed call's status as a ConnectError. Details that do not decode are left out. */
export function connectErrorFromGrpc(failed: StatusObject): ConnectError {
  const error = new ConnectError(failed.details, connectCodes.get(failed.code), headersFromMetadata(failed.metadata));
  error.isWireError = true;
  const binary = failed.metadata?.get(detailsKey)[0];
  if (binary instanceof Uint8Array) {
    try {
      error.details = fromBinary(StatusSchema, binary).details.map(({ typeUrl, value }) => ({
        type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
        value,
      }));
    } catch {
      // The code and the message still stand.
    }
  }
  return error;
}

export function metadataFromHeaders(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of headers) {
    if (key.endsWith("-bin")) metadata.add(key, Buffer.from(value, "base64"));
    else metadata.add(key, value);
  }
  return metadata;
}

export function headersFromMetadata(metadata: Metadata | null | undefined): Headers {
  const headers = new Headers();
  if (metadata == null) return headers;
  for (const [key, values] of Object.entries(metadata.toHttp2Headers())) {
    for (const value of Array.isArray(values) ? values : [values]) {
      if (value !== undefined) headers.append(key, String(value));
    }
  }
  return headers;
}

/** The name of a status code as gRPC spells it, such as `NOT_FOUND`; `OK` for undefined. */
export function codeName(code: Code | undefined): string {
  if (code === undefined) return "OK";
  if (code === Code.Canceled) return "CANCELLED";
  return (Code[code] ?? "Unknown").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
