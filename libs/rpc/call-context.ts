import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import type { ContextValues, HandlerContext } from "@connectrpc/connect";
import type { ServerUnaryCall } from "@grpc/grpc-js";
import { methodPath } from "./codec.ts";
import { headersFromMetadata } from "./grpc-status.ts";
import { peerKey } from "./handler.ts";

export type ServerCall = Pick<ServerUnaryCall<Buffer, Buffer>, "getDeadline" | "getPeer" | "metadata"> & {
  on(event: "cancelled", listener: () => void): unknown;
};

/**
 * What a handler of Connect's shape is told of its call on grpc-js. Everything is made when it is asked for: Connect's own
 * context makes three AbortControllers and three Headers for each call, and most handlers look at none of them.
 */
export class CallContext implements HandlerContext {
  readonly method: DescMethod;
  readonly protocolName = "grpc";
  readonly requestMethod = "POST";
  readonly #call: ServerCall;
  readonly #deadlineMs: number;
  #controller: AbortController | undefined;
  #reason: ConnectError | undefined;
  #over = false;
  #values: ContextValues | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;

  constructor(call: ServerCall, method: DescMethod) {
    this.method = method;
    this.#call = call;
    this.#deadlineMs = Number(call.getDeadline());
    // grpc-js says so too when the deadline has passed, having answered the caller itself, and when the call is over.
    call.on("cancelled", () => {
      if (!this.#over) this.abort(this.#whyGone());
    });
  }

  get service(): DescService {
    return this.method.parent;
  }

  get url(): string {
    return `http://localhost${methodPath(this.method)}`;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** Why the call ended before its handler did; undefined: it has not. */
  get abortedWith(): ConnectError | undefined {
    return this.#reason;
  }

  get values(): ContextValues {
    return (this.#values ??= createContextValues().set(peerKey, this.#call.getPeer()));
  }

  get requestHeader(): Headers {
    return (this.#requestHeader ??= headersFromMetadata(this.#call.metadata));
  }

  get responseHeader(): Headers {
    return (this.#responseHeader ??= new Headers());
  }

  get responseTrailer(): Headers {
    return (this.#responseTrailer ??= new Headers());
  }

  /** The headers that the handler set, if it set any. */
  get givenHeader(): Headers | undefined {
    return this.#responseHeader;
  }

  get givenTrailer(): Headers | undefined {
    return this.#responseTrailer;
  }

  timeoutMs(): number | undefined {
    return Number.isFinite(this.#deadlineMs) ? this.#deadlineMs - Date.now() : undefined;
  }

  /** Ends the call for its handler before the handler is done. */
  abort(reason: ConnectError): void {
    this.#reason ??= reason;
    this.#controller?.abort(reason);
  }

  /** The handler is done; what it left running may stop. */
  end(): void {
    this.#over = true;
    this.#controller?.abort();
  }

  #whyGone(): ConnectError {
    return (this.timeoutMs() ?? 1) <= 0
      ? new ConnectError("The deadline has passed.", Code.DeadlineExceeded)
      : new ConnectError("The caller canceled.", Code.Canceled);
  }
}
