import type { DescMessage, DescMethodBiDiStreaming } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { constants } from "node:http2";
import type { StreamContext } from "./duplex-stream.ts";
import { codeName, grpcStatusFromError, headersFromMetadata } from "./grpc-status.ts";
import type { HandlerOptions } from "./handler.ts";
import { StreamCore } from "./stream-core.ts";

// A peer that reads nothing never lets the status through; then the stream is cut.
const flushTimeoutMs = 5_000;

export class ServerStream<I extends DescMessage, O extends DescMessage> extends StreamCore<I, O> {
  readonly #call: ServerDuplexStream<Buffer, Buffer>;
  readonly #method: DescMethodBiDiStreaming<I, O>;
  readonly #options: HandlerOptions;
  #inOrder = false;

  constructor(
    call: ServerDuplexStream<Buffer, Buffer>,
    method: DescMethodBiDiStreaming<I, O>,
    options: HandlerOptions,
  ) {
    super(call, { incoming: method.input, outgoing: method.output, undecodable: "INVALID_REQUEST" });
    this.#call = call;
    this.#method = method;
    this.#options = options;
    const startedMs = performance.now();
    this.onClose((error) => {
      options.metrics?.onCall({
        service: method.parent.typeName,
        method: method.name,
        code: codeName(error?.code),
        durationMs: performance.now() - startedMs,
      });
    });
    // grpc-js says this at the end of every call, however it ended.
    call.on("cancelled", () => {
      this.closed(this.#inOrder ? undefined : new ConnectError("The peer went away.", Code.Canceled));
    });
  }

  protected override endCall(): void {
    this.#inOrder = true;
    this.#call.end();
    this.#cutUnlessFlushed();
  }

  protected override failCall(error: ConnectError): void {
    const status = grpcStatusFromError(error);
    this.#call.emit("error", Object.assign(new Error(status.details), status));
    this.#cutUnlessFlushed();
  }

  protected override peerEnded(): void {
    this.end();
  }

  protected override defect(thrown: unknown): void {
    const fields = { err: thrown, service: this.#method.parent.typeName, method: this.#method.name };
    this.#options.log.error("a stream's owner failed unexpectedly", fields);
  }

  #cutUnlessFlushed(): void {
    const timer = setTimeout(() => cut(this.#call), flushTimeoutMs);
    timer.unref();
    this.#call.once("cancelled", () => clearTimeout(timer));
  }
}

/** grpc-js offers a server no way to cut a call whose peer does not read, so this reaches inside for the HTTP/2 stream. */
function cut(call: object): void {
  const inner: unknown = Reflect.get(call, "call");
  const stream: unknown = isObject(inner) ? Reflect.get(inner, "stream") : undefined;
  const close: unknown = isObject(stream) ? Reflect.get(stream, "close") : undefined;
  if (typeof close === "function") close.call(stream, constants.NGHTTP2_CANCEL);
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** Made only when asked for: most streams need neither headers nor a signal, and there are thousands. */
export class ServerStreamContext implements StreamContext {
  readonly #call: ServerDuplexStream<Buffer, Buffer>;
  readonly peer: string;
  #controller: AbortController | undefined;

  constructor(call: ServerDuplexStream<Buffer, Buffer>) {
    this.#call = call;
    this.peer = call.getPeer();
  }

  get requestHeader(): Headers {
    return headersFromMetadata(this.#call.metadata);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController();
      if (this.#call.cancelled) controller.abort();
      else this.#call.once("cancelled", () => controller.abort());
      this.#controller = controller;
    }
    return this.#controller.signal;
  }
}
