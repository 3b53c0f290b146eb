import { createRegistry } from "@bufbuild/protobuf";
import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { MethodImplSpec } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { createAsyncIterable, createUniversalMethodHandler, encodeEnvelope } from "@connectrpc/connect/protocol";
import type { UniversalHandlerFn, UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  createEndStreamSerialization,
  createHandlerFactory,
} from "@connectrpc/connect/protocol-connect";
import { endStreamFlag, errorFromJsonBytes, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { createHandlerFactory as createGrpcWebFactory } from "@connectrpc/connect/protocol-grpc-web";
import { file_google_rpc_error_details } from "#libs/proto/google/rpc/error_details_pb.ts";
import { errorReason, legionError } from "./errors.ts";

// A google.rpc.Status among the answers of a bulk call carries details, which are JSON only to who knows their types.
const registry = createRegistry(file_google_rpc_error_details);

/** Serves a handler as Connect (JSON and binary) and gRPC-Web. */
export function connectHandler(spec: MethodImplSpec, readMaxBytes: number): UniversalHandlerFn {
  const options = {
    readMaxBytes,
    acceptCompression: [compressionGzip, compressionBrotli],
    // JSON is written by hand: a field name that is misspelt must not be dropped in silence.
    jsonOptions: { ignoreUnknownFields: false, registry },
  };
  const handle = createUniversalMethodHandler(spec, [createHandlerFactory(options), createGrpcWebFactory(options)]);
  return async (request) => withReason(await handle(request));
}

/** Answers a bidirectional method, which HTTP/1.1 cannot carry, in the form that the caller's protocol reads. */
export function streamOnlyOnGrpc(method: DescMethod): UniversalHandlerFn {
  const message = `${method.parent.typeName}.${method.name} is a bidirectional stream, which this HTTP port cannot carry.`;
  const error = legionError("STREAM_ONLY_ON_GRPC", message);
  const { serialize } = createEndStreamSerialization(undefined);
  return async ({ header }) => {
    const contentType = header.get("content-type") ?? "";
    return contentType.startsWith("application/connect+")
      ? response(200, contentType, encodeEnvelope(endStreamFlag, serialize({ metadata: new Headers(), error })))
      : response(codeToHttpStatus(error.code), "application/json", errorToJsonBytes(error, undefined));
  };
}

/** Connect refuses by itself what it cannot parse, without a reason; and some requests without a word. */
async function withReason(answer: UniversalServerResponse): Promise<UniversalServerResponse> {
  if (answer.status === 415 || answer.status === 405) {
    return response(answer.status, "text/plain", "Send a POST with Content-Type: application/json.\n");
  }
  if (answer.status !== 400 || answer.body === undefined || answer.header?.has("content-encoding")) return answer;
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer.body) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const error = errorFromJsonBytes(body, undefined, new ConnectError("", Code.Unknown));
  const bare = error.code === Code.InvalidArgument && errorReason(error) === undefined;
  if (!bare) return { ...answer, body: createAsyncIterable<Uint8Array>([body]) };
  return response(
    400,
    "application/json",
    errorToJsonBytes(legionError("INVALID_REQUEST", error.rawMessage), undefined),
  );
}

function response(status: number, contentType: string, body: Uint8Array | string): UniversalServerResponse {
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  const header = new Headers({ "content-type": contentType, "content-length": String(bytes.byteLength) });
  return { status, header, body: createAsyncIterable([bytes]) };
}
