import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { createContextKey, createServiceImplSpec } from "@connectrpc/connect";
import type { ConnectError, HandlerContext, MethodImplSpec, ServiceImpl } from "@connectrpc/connect";
import { legionError } from "./errors.ts";
import type { Reason } from "./errors.ts";
import { failureOf } from "./failure.ts";
import { codeName } from "./grpc-status.ts";
import type { Log } from "./log.ts";
import type { RpcMetrics } from "./metrics.ts";
import { validate } from "./validate.ts";

export interface HandlerOptions {
  log: Log;
  metrics?: RpcMetrics | undefined;
}

export const peerKey = createContextKey("unknown", { description: "the caller's address" });

/** The caller's address and port, on gRPC and on HTTP alike. */
export function peerOf(context: HandlerContext): string {
  return context.values.get(peerKey);
}

/** The handlers that an implementation has for a service's methods. */
export function handlersOf<S extends DescService>(service: S, impl: Partial<ServiceImpl<S>>): MethodImplSpec[] {
  const { methods } = createServiceImplSpec(service, impl);
  return Object.values(methods).filter(({ method }) => Reflect.has(impl, method.localName));
}

/** A handler that refuses, for a method that is not offered. */
export function refuses(method: DescMethod, reason: Reason, message: string): MethodImplSpec {
  const spec = createServiceImplSpec(method.parent, {}).methods[method.localName];
  if (spec === undefined) throw new Error(`${method.parent.typeName} has no method ${method.localName}`);
  const impl = () => {
    throw legionError(reason, message);
  };
  return { ...spec, impl };
}

/**
 * The same handler with what every call gets, on whichever transport: its request is validated, its unexpected errors
 * are hidden from the caller and logged, and it is counted.
 */
export function guardHandler(spec: MethodImplSpec, options: HandlerOptions): MethodImplSpec {
  switch (spec.kind) {
    case "unary": {
      const run = spec.impl;
      const impl: typeof run = (request, context) =>
        observe(spec.method, context, options, async () => {
          validate(spec.method.input, request);
          return await run(request, context);
        });
      return { ...spec, impl };
    }
    case "client_streaming": {
      const run = spec.impl;
      const impl: typeof run = (requests, context) =>
        observe(spec.method, context, options, () => run(validated(spec.method.input, requests), context));
      return { ...spec, impl };
    }
    case "server_streaming": {
      const run = spec.impl;
      const impl: typeof run = (request, context) =>
        observeStream(spec.method, context, options, () => {
          validate(spec.method.input, request);
          return run(request, context);
        });
      return { ...spec, impl };
    }
    case "bidi_streaming": {
      const run = spec.impl;
      const impl: typeof run = (requests, context) =>
        observeStream(spec.method, context, options, () => run(validated(spec.method.input, requests), context));
      return { ...spec, impl };
    }
    default:
      throw spec satisfies never;
  }
}

async function* validated<I extends DescMessage>(schema: I, messages: AsyncIterable<MessageShape<I>>) {
  for await (const message of messages) {
    validate(schema, message);
    yield message;
  }
}

async function observe<T>(
  method: DescMethod,
  context: HandlerContext,
  options: HandlerOptions,
  run: () => Promise<T>,
): Promise<T> {
  const startedMs = performance.now();
  let failure: ConnectError | undefined;
  try {
    return await run();
  } catch (thrown) {
    throw (failure = asFailure(thrown, method, context, options.log));
  } finally {
    count(method, failure, startedMs, options.metrics);
  }
}

async function* observeStream<O extends DescMessage>(
  method: DescMethod,
  context: HandlerContext,
  options: HandlerOptions,
  run: () => AsyncIterable<MessageInitShape<O>>,
) {
  const startedMs = performance.now();
  let failure: ConnectError | undefined;
  try {
    yield* run();
  } catch (thrown) {
    throw (failure = asFailure(thrown, method, context, options.log));
  } finally {
    count(method, failure, startedMs, options.metrics);
  }
}

function asFailure(thrown: unknown, method: DescMethod, { signal }: HandlerContext, log: Log): ConnectError {
  const abortedWith = signal.aborted ? signal.reason : undefined;
  return failureOf(thrown, { service: method.parent.typeName, method: method.name, abortedWith }, log);
}

function count(method: DescMethod, failure: ConnectError | undefined, startedMs: number, metrics?: RpcMetrics) {
  metrics?.onCall({
    service: method.parent.typeName,
    method: method.name,
    code: codeName(failure?.code),
    durationMs: performance.now() - startedMs,
  });
}
