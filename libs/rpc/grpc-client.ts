import { create } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, makeAnyClient } from "@connectrpc/connect";
import type { CallOptions, Client } from "@connectrpc/connect";
import { Metadata, status } from "@grpc/grpc-js";
import type { CallOptions as GrpcCallOptions, StatusObject } from "@grpc/grpc-js";
import { asIs, decode, encode, methodPath } from "./codec.ts";
import type { GrpcChannel } from "./grpc-channel.ts";
import { connectErrorFromGrpc, headersFromMetadata, isGrpcError, metadataFromHeaders } from "./grpc-status.ts";

export { GrpcChannel } from "./grpc-channel.ts";
export type { ChannelState, GrpcChannelOptions } from "./grpc-channel.ts";
export { openStream } from "./client-stream.ts";
export type { OpenStreamOptions } from "./client-stream.ts";
export type { ClientStream, DuplexStream } from "./duplex-stream.ts";

/**
 * A client of the same shape as Connect's: unary methods give promises, streams give AsyncIterables; leaving a loop over
 * one cancels its call. Failures are ConnectErrors with their details. No retries: the caller knows what may be repeated.
 */
export function createClient<S extends DescService>(service: S, channel: GrpcChannel): Client<S> {
  // makeAnyClient knows the methods by name only.
  return makeAnyClient(service, (method) => callerOf(method, channel)) as Client<S>;
}

function callerOf(method: DescMethod, channel: GrpcChannel) {
  switch (method.methodKind) {
    case "unary":
      return (request: MessageInitShape<DescMessage>, options?: CallOptions) =>
        unary(channel, method, request, options);
    case "server_streaming":
      return (request: MessageInitShape<DescMessage>, options?: CallOptions) =>
        stream(channel, method, [create(method.input, request)], options);
    case "client_streaming":
      return async (requests: AsyncIterable<MessageInitShape<DescMessage>>, options?: CallOptions) => {
        let last: MessageShape<DescMessage> | undefined;
        for await (const message of stream(channel, method, requests, options)) last = message;
        if (last === undefined) throw new ConnectError("The server sent no response.", Code.Unimplemented);
        return last;
      };
    case "bidi_streaming":
      return (requests: AsyncIterable<MessageInitShape<DescMessage>>, options?: CallOptions) =>
        stream(channel, method, requests, options);
    default:
      throw method.methodKind satisfies never;
  }
}

async function unary<I extends DescMessage, O extends DescMessage>(
  channel: GrpcChannel,
  method: DescMethod & { input: I; output: O },
  request: MessageInitShape<I>,
  options: CallOptions = {},
): Promise<MessageShape<O>> {
  const { signal } = options;
  if (signal?.aborted) throw canceled(signal);
  const answer = await new Promise<Buffer | undefined>((resolve, reject) => {
    const respond = (error: StatusObject | null, bytes?: Buffer) => {
      signal?.removeEventListener("abort", abort);
      if (error !== null) reject(signal?.aborted ? canceled(signal) : connectErrorFromGrpc(error));
      else resolve(bytes);
    };
    const call = channel.raw.makeUnaryRequest(
      methodPath(method),
      asIs,
      asIs,
      encode(method.input, request),
      metadataOf(options),
      deadlineOf(options),
      respond,
    );
    const abort = () => call.cancel();
    signal?.addEventListener("abort", abort, { once: true });
    if (options.onHeader !== undefined)
      call.on("metadata", (header) => options.onHeader?.(headersFromMetadata(header)));
    if (options.onTrailer !== undefined) {
      call.on("status", (result: StatusObject) => options.onTrailer?.(headersFromMetadata(result.metadata)));
    }
  });
  return decode(method.output, answer ?? Buffer.alloc(0), "INTERNAL");
}

/** Every kind of stream as a bidirectional one: on the wire they are the same. */
async function* stream<I extends DescMessage, O extends DescMessage>(
  channel: GrpcChannel,
  method: DescMethod & { input: I; output: O },
  requests: AsyncIterable<MessageInitShape<I>> | Iterable<MessageInitShape<I>>,
  options: CallOptions = {},
): AsyncGenerator<MessageShape<O>, void> {
  const { signal } = options;
  if (signal?.aborted) throw canceled(signal);
  const path = methodPath(method);
  const call = channel.raw.makeBidiStreamRequest(path, asIs, asIs, metadataOf(options), deadlineOf(options));
  // Also after this generator has been left: without a listener the event would end the process.
  call.on("error", () => {});
  if (options.onHeader !== undefined) call.on("metadata", (header) => options.onHeader?.(headersFromMetadata(header)));
  const finished = new Promise<StatusObject>((resolve) => call.on("status", resolve));
  const abort = () => call.cancel();
  signal?.addEventListener("abort", abort, { once: true });
  let requestsFailure: { error: unknown } | undefined;
  let over = false;
  const send = async () => {
    try {
      for await (const request of requests) {
        if (over) return;
        const flushed = call.write(encode(method.input, request));
        if (!flushed) await Promise.race([finished, new Promise((resolve) => call.once("drain", resolve))]);
      }
      call.end();
    } catch (error) {
      requestsFailure = { error };
      call.cancel();
    }
  };
  void send();
  try {
    const messages: AsyncIterable<Buffer> = call.iterator({ destroyOnReturn: false });
    try {
      for await (const bytes of messages) yield decode(method.output, bytes, "INTERNAL");
    } catch (thrown) {
      // The status says the same, and what the server told beside it.
      if (!isGrpcError(thrown)) throw thrown;
    }
    const result = await finished;
    options.onTrailer?.(headersFromMetadata(result.metadata));
    if (requestsFailure !== undefined) throw requestsFailure.error;
    if (result.code !== status.OK) throw signal?.aborted ? canceled(signal) : connectErrorFromGrpc(result);
  } finally {
    over = true;
    signal?.removeEventListener("abort", abort);
    call.cancel();
  }
}

function canceled(signal: AbortSignal): ConnectError {
  const { reason } = signal;
  return reason instanceof ConnectError
    ? reason
    : new ConnectError(reason instanceof Error ? reason.message : "The call was aborted.", Code.Canceled);
}

function metadataOf({ headers }: CallOptions): Metadata {
  return headers === undefined ? new Metadata() : metadataFromHeaders(new Headers(headers));
}

function deadlineOf({ timeoutMs }: CallOptions): GrpcCallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}
