import type { TraceSpan } from "./trace-span.ts";

/** Jaeger does not answer, or not as Jaeger does. */
export class JaegerError extends Error {
  override readonly name = "JaegerError";
}

interface Tag {
  readonly key: string;
  readonly value: string | number | boolean;
}

interface JaegerSpan {
  readonly spanID: string;
  readonly operationName: string;
  readonly references?: readonly { readonly refType: string; readonly traceID: string; readonly spanID: string }[];
  readonly startTime: number;
  readonly duration: number;
  readonly tags?: readonly Tag[];
  readonly processID: string;
}

interface JaegerAnswer {
  readonly data?: readonly {
    readonly traceID: string;
    readonly spans: readonly JaegerSpan[];
    readonly processes: Readonly<Record<string, { readonly serviceName: string }>>;
  }[];
}

const timeoutMs = 5_000;

/**
 * A trace by its id, as Jaeger's query API has it; undefined if it has none of that id.
 * @throws JaegerError
 */
export async function fetchTrace(url: string, traceId: string): Promise<TraceSpan[] | undefined> {
  // Raw: else it moves spans that begin after their parent's end, as a task's do, for it takes that for a wrong clock.
  const { status, body } = await ask(url, `/api/traces/${traceId}?raw=true`);
  if (status === 404) return undefined;
  const { data } = body as JaegerAnswer;
  if (status !== 200 || !Array.isArray(data)) throw new JaegerError(`Jaeger at ${url} answered ${status}.`);
  const spans = (data as NonNullable<JaegerAnswer["data"]>).flatMap(({ traceID, spans: all, processes }) =>
    all.map((span) => spanOf(span, traceID, processes[span.processID]?.serviceName ?? "")),
  );
  return spans.length === 0 ? undefined : spans;
}

async function ask(url: string, path: string): Promise<{ status: number; body: unknown }> {
  let text: string;
  let status: number;
  try {
    const response = await fetch(`${url.replace(/\/+$/, "")}${path}`, { signal: AbortSignal.timeout(timeoutMs) });
    status = response.status;
    text = await response.text();
  } catch (error) {
    const { cause, message } = error as Error;
    const why = cause instanceof Error && cause.message !== "" ? cause.message : message;
    throw new JaegerError(`No Jaeger answers at ${url}: ${why}.`, { cause: error });
  }
  try {
    return { status, body: JSON.parse(text) };
  } catch {
    throw new JaegerError(`What answers at ${url} is no Jaeger: it sent no JSON.`);
  }
}

function spanOf(span: JaegerSpan, traceId: string, service: string): TraceSpan {
  const attributes = Object.fromEntries((span.tags ?? []).map(({ key, value }) => [key, value]));
  const parent = span.references?.find((each) => each.refType === "CHILD_OF" && each.traceID === traceId);
  return {
    spanId: span.spanID,
    parentId: parent?.spanID,
    name: span.operationName,
    service,
    startUs: span.startTime,
    durationUs: span.duration,
    failed: attributes["error"] === true || attributes["otel.status_code"] === "ERROR",
    failure: String(attributes["otel.status_description"] ?? ""),
    attributes,
  };
}
