import {
  type Attributes,
  type AttributeValue,
  createTraceState,
  type HrTime,
  type Link,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  trace,
  type Tracer,
  TraceFlags,
} from "@opentelemetry/api";
import { isValidTraceparent } from "./traceparent.ts";

export { SpanKind } from "@opentelemetry/api";
export { isValidTraceparent, newTraceparent, spanIdOf, traceIdOf } from "./traceparent.ts";

/** A trace context as it travels: in messages and rows. Empty or invalid strings count as none. */
export interface TraceStrings {
  readonly traceparent: string;
  readonly tracestate?: string | undefined;
}

export interface StartSpanOptions {
  /** Default INTERNAL. */
  readonly kind?: SpanKind;
  readonly parent?: TraceStrings | undefined;
  readonly links?: readonly TraceStrings[];
  readonly attributes?: Attributes;
  /** Milliseconds since the epoch. Default: now. */
  readonly startTimeMs?: number;
}

export interface RecordSpanOptions extends StartSpanOptions {
  readonly startTimeMs: number;
  /** Milliseconds since the epoch. */
  readonly endTimeMs: number;
  readonly error?: unknown;
}

export interface TaskSpan {
  /** The context for what happens under this span. With tracing off: the parent's own, or "" without a parent. */
  readonly traceparent: string;
  readonly tracestate: string;
  setAttribute(name: string, value: AttributeValue): void;
  /** Marks the span as failed. An Error brings its stack; anything else is kept as text. */
  recordError(error: unknown): void;
  /** @param endTimeMs milliseconds since the epoch; default: now. A second call does nothing. */
  end(endTimeMs?: number): void;
}

/**
 * Starts a span under a parent given as W3C strings; the active context plays no part. Nothing is recorded until a
 * tracer provider is registered (by `startTelemetry`, or by the program that embeds an SDK).
 */
export function startSpan(name: string, options: StartSpanOptions = {}): TaskSpan {
  const tracer = currentTracer();
  const { parent } = options;
  if (tracer === undefined) return isValidTraceparent(parent?.traceparent) ? new PassedThrough(parent) : noSpan;
  const parentContext = toSpanContext(parent);
  const context = parentContext ? trace.setSpanContext(ROOT_CONTEXT, parentContext) : ROOT_CONTEXT;
  const spanOptions: SpanOptions = { kind: options.kind ?? SpanKind.INTERNAL };
  if (options.attributes) spanOptions.attributes = options.attributes;
  if (options.startTimeMs !== undefined) spanOptions.startTime = toHrTime(options.startTimeMs);
  if (options.links) spanOptions.links = options.links.flatMap(toLink);
  return new RecordedSpan(tracer.startSpan(name, spanOptions, context));
}

/** Records a span after the fact, such as a wait whose end is its first sign. Already ended when returned. */
export function recordSpan(name: string, options: RecordSpanOptions): TaskSpan {
  const span = startSpan(name, options);
  if (options.error !== undefined) span.recordError(options.error);
  span.end(options.endTimeMs);
  return span;
}

/** Whether spans go anywhere. Ask before building attributes that are costly to build. */
export function isTracing(): boolean {
  return currentTracer() !== undefined;
}

let knownProvider: unknown;
let knownTracer: Tracer | undefined;

function currentTracer(): Tracer | undefined {
  const provider = trace.getTracerProvider();
  if (provider === knownProvider && knownTracer !== undefined) return knownTracer;
  knownProvider = provider;
  // The API's stand-in hands out tracers that do nothing; it has a delegate once there is a real provider.
  knownTracer =
    provider instanceof ProxyTracerProvider ? provider.getDelegateTracer("legion") : provider.getTracer("legion");
  return knownTracer;
}

class RecordedSpan implements TaskSpan {
  readonly #span: Span;
  #ended = false;

  constructor(span: Span) {
    this.#span = span;
  }

  get traceparent(): string {
    const { traceId, spanId, traceFlags } = this.#span.spanContext();
    return `00-${traceId}-${spanId}-${traceFlags & TraceFlags.SAMPLED ? "01" : "00"}`;
  }

  get tracestate(): string {
    return this.#span.spanContext().traceState?.serialize() ?? "";
  }

  setAttribute(name: string, value: AttributeValue): void {
    if (!this.#ended) this.#span.setAttribute(name, value);
  }

  recordError(error: unknown): void {
    if (this.#ended) return;
    const exception = error instanceof Error ? error : String(error);
    this.#span.recordException(exception);
    const message = typeof exception === "string" ? exception : exception.message;
    this.#span.setStatus({ code: SpanStatusCode.ERROR, message });
  }

  end(endTimeMs?: number): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#span.end(endTimeMs === undefined ? undefined : toHrTime(endTimeMs));
  }
}

class PassedThrough implements TaskSpan {
  readonly traceparent: string;
  readonly tracestate: string;

  constructor(parent: TraceStrings | undefined) {
    this.traceparent = parent?.traceparent ?? "";
    this.tracestate = parent?.tracestate ?? "";
  }

  setAttribute(): void {}
  recordError(): void {}
  end(): void {}
}

const noSpan: TaskSpan = new PassedThrough(undefined);

function toSpanContext(strings: TraceStrings | undefined): SpanContext | undefined {
  if (strings === undefined || !isValidTraceparent(strings.traceparent)) return undefined;
  const { traceparent, tracestate } = strings;
  const context: SpanContext = {
    traceId: traceparent.slice(3, 35),
    spanId: traceparent.slice(36, 52),
    traceFlags: Number.parseInt(traceparent.slice(53, 55), 16) & TraceFlags.SAMPLED,
    isRemote: true,
  };
  if (tracestate) context.traceState = createTraceState(tracestate);
  return context;
}

function toLink(strings: TraceStrings): Link[] {
  const context = toSpanContext(strings);
  return context === undefined ? [] : [{ context }];
}

// As seconds and nanoseconds: a bare number the SDK may take for milliseconds since the process began.
function toHrTime(epochMs: number): HrTime {
  const seconds = Math.floor(epochMs / 1_000);
  return [seconds, Math.round((epochMs - seconds * 1_000) * 1e6)];
}
