import type { DescMessage, DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectError, MethodImplSpec } from "@connectrpc/connect";
import type { handleUnaryCall, sendUnaryData, Metadata, Server } from "@grpc/grpc-js";
import type { ServerDuplexStream, ServerReadableStream, ServerUnaryCall, ServerWritableStream } from "@grpc/grpc-js";
import { Readable } from "node:stream";
import { CallContext, type ServerCall } from "./call-context.ts";
import { asIs, decode, encode, methodPath } from "./codec.ts";
import { failureOf } from "./failure.ts";
import { grpcStatusFromError, metadataFromHeaders } from "./grpc-status.ts";
import type { Log } from "./log.ts";

type Call = ServerCall & Pick<ServerUnaryCall<Buffer, Buffer>, "sendMetadata">;
interface WritableCall extends Call {
  on(event: "cancelled" | "drain" | "error", listener: () => void): unknown;
  off(event: "cancelled" | "drain", listener: () => void): unknown;
  emit(event: "error", error: Error): boolean;
  write(bytes: Buffer): boolean;
  end(trailers?: Metadata): void;
}

/** A call that has not ended, which the server may have to end. */
export interface OpenCall {
  fail(error: ConnectError): void;
}

export interface Serving {
  log: Log;
  open: Set<OpenCall>;
}

/** Serves a handler of Connect's shape on a grpc-js server. */
export function registerHandler(server: Server, spec: MethodImplSpec, { log, open }: Serving): void {
  const path = methodPath(spec.method);
  switch (spec.kind) {
    case "unary": {
      const handle: handleUnaryCall<Buffer, Buffer> = (call, respond) => {
        const context = new CallContext(call, spec.method);
        const run = async () => await spec.impl(decode(spec.method.input, call.request, "INVALID_REQUEST"), context);
        void answer(call, context, spec.method, run, respond, { log, open });
      };
      server.register(path, handle, asIs, asIs, "unary");
      return;
    }
    case "client_streaming": {
      const handle = (call: ServerReadableStream<Buffer, Buffer>, respond: sendUnaryData<Buffer>) => {
        const context = new CallContext(call, spec.method);
        const run = () => spec.impl(requestsOf(spec.method.input, call, context), context);
        void answer(call, context, spec.method, run, respond, { log, open });
      };
      server.register(path, handle, asIs, asIs, "clientStream");
      return;
    }
    case "server_streaming": {
      const handle = (call: ServerWritableStream<Buffer, Buffer>) => {
        const context = new CallContext(call, spec.method);
        const run = () => spec.impl(decode(spec.method.input, call.request, "INVALID_REQUEST"), context);
        void pump(call, context, spec.method, run, { log, open });
      };
      server.register(path, handle, asIs, asIs, "serverStream");
      return;
    }
    case "bidi_streaming": {
      const handle = (call: ServerDuplexStream<Buffer, Buffer>) => {
        const context = new CallContext(call, spec.method);
        const run = () => spec.impl(requestsOf(spec.method.input, call, context), context);
        void pump(call, context, spec.method, run, { log, open });
      };
      server.register(path, handle, asIs, asIs, "bidi");
      return;
    }
    default:
      throw spec satisfies never;
  }
}

async function answer<O extends DescMessage>(
  call: Call,
  context: CallContext,
  method: DescMethod & { output: O },
  run: () => Promise<MessageInitShape<O>>,
  respond: sendUnaryData<Buffer>,
  { log, open }: Serving,
): Promise<void> {
  const openCall: OpenCall = {
    fail: (error) => {
      if (open.delete(openCall)) respond(grpcStatusFromError(error));
      context.abort(error);
    },
  };
  open.add(openCall);
  try {
    const bytes = encode(method.output, await run());
    if (!open.delete(openCall)) return;
    sendHeaders(call, context);
    respond(null, bytes, trailersOf(context));
  } catch (thrown) {
    openCall.fail(asFailure(thrown, method, context, log));
  } finally {
    context.end();
  }
}

async function pump<O extends DescMessage>(
  call: WritableCall,
  context: CallContext,
  method: DescMethod & { output: O },
  run: () => AsyncIterable<MessageInitShape<O>>,
  { log, open }: Serving,
): Promise<void> {
  // A write may still fail while the caller hangs up; the call ends as canceled either way.
  call.on("error", () => {});
  call.on("cancelled", () => open.delete(openCall));
  const openCall: OpenCall = {
    fail: (error) => {
      if (open.delete(openCall)) {
        const status = grpcStatusFromError(error);
        call.emit("error", Object.assign(new Error(status.details), status));
      }
      context.abort(error);
    },
  };
  open.add(openCall);
  try {
    let first = true;
    for await (const message of run()) {
      if (!open.has(openCall)) return;
      if (first) sendHeaders(call, context);
      first = false;
      if (!call.write(encode(method.output, message))) await drained(call);
    }
    if (open.delete(openCall)) call.end(trailersOf(context));
  } catch (thrown) {
    openCall.fail(asFailure(thrown, method, context, log));
  } finally {
    context.end();
  }
}

function drained(call: WritableCall): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off("drain", done);
      call.off("cancelled", done);
      resolve();
    };
    call.on("drain", done);
    call.on("cancelled", done);
  });
}

async function* requestsOf<I extends DescMessage>(schema: I, call: unknown, context: CallContext) {
  if (!(call instanceof Readable)) throw new TypeError("grpc-js gave a call that is not a stream");
  // Left early, the default iterator would destroy the call, and its status would never be sent.
  const messages: AsyncIterable<Buffer> = call.iterator({ destroyOnReturn: false });
  try {
    for await (const bytes of messages) yield decode(schema, bytes, "INVALID_REQUEST");
  } catch (thrown) {
    throw context.abortedWith ?? thrown;
  }
}

function asFailure(thrown: unknown, method: DescMethod, { abortedWith }: CallContext, log: Log): ConnectError {
  return failureOf(thrown, { service: method.parent.typeName, method: method.name, abortedWith }, log);
}

function sendHeaders(call: Call, { givenHeader }: CallContext): void {
  if (givenHeader !== undefined && [...givenHeader.keys()].length > 0) {
    call.sendMetadata(metadataFromHeaders(givenHeader));
  }
}

function trailersOf({ givenTrailer }: CallContext): Metadata | undefined {
  return givenTrailer && metadataFromHeaders(givenTrailer);
}
