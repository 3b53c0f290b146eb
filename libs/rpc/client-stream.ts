import type { DescMessage, DescMethodBiDiStreaming, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import type { CallOptions } from "@connectrpc/connect";
import { Metadata, status } from "@grpc/grpc-js";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import { asIs, methodPath } from "./codec.ts";
import type { ClientStream } from "./duplex-stream.ts";
import type { GrpcChannel } from "./grpc-channel.ts";
import { connectErrorFromGrpc, metadataFromHeaders } from "./grpc-status.ts";
import type { Log } from "./log.ts";
import { StreamCore } from "./stream-core.ts";

export interface OpenStreamOptions {
  headers?: NonNullable<CallOptions["headers"]>;
  /** Aborting it cancels the stream. */
  signal?: AbortSignal;
}

/**
 * Opens a bidirectional stream. Where nobody answers, `onClose` says UNAVAILABLE.
 * @throws ConnectError UNAVAILABLE when the channel is closed
 */
export function openStream<I extends DescMessage, O extends DescMessage>(
  channel: GrpcChannel,
  method: DescMethodBiDiStreaming<I, O>,
  { headers, signal }: OpenStreamOptions = {},
): ClientStream<MessageInitShape<I>, MessageShape<O>> {
  const metadata = headers === undefined ? new Metadata() : metadataFromHeaders(new Headers(headers));
  const call = channel.raw.makeBidiStreamRequest(methodPath(method), asIs, asIs, metadata);
  const stream = new RawClientStream(call, method, channel.log);
  if (signal !== undefined) {
    const abort = () => stream.fail(ConnectError.from(signal.reason));
    if (signal.aborted) abort();
    else {
      signal.addEventListener("abort", abort, { once: true });
      stream.onClose(() => signal.removeEventListener("abort", abort));
    }
  }
  return stream;
}

class RawClientStream<I extends DescMessage, O extends DescMessage> extends StreamCore<O, I> {
  readonly #call: ClientDuplexStream<Buffer, Buffer>;
  readonly #method: DescMethodBiDiStreaming<I, O>;
  readonly #log: Log;

  constructor(call: ClientDuplexStream<Buffer, Buffer>, method: DescMethodBiDiStreaming<I, O>, log: Log) {
    super(call, { incoming: method.output, outgoing: method.input, undecodable: "INTERNAL" });
    this.#call = call;
    this.#method = method;
    this.#log = log;
    // Until it is first asked to read, grpc-js's client reads the socket as fast as it can, into memory without bound.
    call.read(0);
    call.on("status", (result) => {
      this.closed(result.code === status.OK ? undefined : connectErrorFromGrpc(result));
    });
  }

  protected override endCall(): void {
    this.#call.end();
  }

  protected override failCall(): void {
    this.#call.cancel();
  }

  protected override peerEnded(): void {
    // The status follows and closes the stream.
  }

  protected override defect(thrown: unknown): void {
    const fields = { err: thrown, service: this.#method.parent.typeName, method: this.#method.name };
    this.#log.error("a stream's owner failed unexpectedly", fields);
  }
}
