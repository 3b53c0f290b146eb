import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

export type Value = string | number | boolean | Value[] | null;

/** A span as the collector received it. */
export interface Span {
  /** `service.name` of the process it came from. */
  readonly service: string;
  readonly resource: Readonly<Record<string, Value>>;
  readonly name: string;
  readonly kind: "unspecified" | "internal" | "server" | "client" | "producer" | "consumer";
  readonly traceId: string;
  readonly spanId: string;
  /** "" for a root. */
  readonly parentSpanId: string;
  readonly tracestate: string;
  /** Milliseconds since the epoch, with fractions. */
  readonly startTimeMs: number;
  readonly endTimeMs: number;
  readonly attributes: Readonly<Record<string, Value>>;
  readonly status: "unset" | "ok" | "error";
  readonly statusMessage: string;
  readonly events: readonly { readonly name: string; readonly attributes: Readonly<Record<string, Value>> }[];
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
}

const kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"] as const;
const statuses = ["unset", "ok", "error"] as const;

/** The fields of a message by number, each a list of undecoded occurrences. */
type Fields = Map<number, (Uint8Array | bigint | number)[]>;

/** The spans in an ExportTraceServiceRequest. Field numbers are those of opentelemetry-proto v1. */
export function decodeTraces(request: Uint8Array): Span[] {
  return messages(read(request), 1).flatMap((resourceSpans) => {
    const resource = attributes(messages(resourceSpans, 1)[0], 1);
    const scopes = messages(resourceSpans, 2);
    return scopes.flatMap((scope) => messages(scope, 2).map((span) => decodeSpan(span, resource)));
  });
}

function decodeSpan(span: Fields, resource: Record<string, Value>): Span {
  const status = messages(span, 15)[0] ?? new Map();
  return {
    service: String(resource["service.name"]),
    resource,
    traceId: hex(span, 1),
    spanId: hex(span, 2),
    tracestate: text(span, 3),
    parentSpanId: hex(span, 4),
    name: text(span, 5),
    kind: kinds[Number(first(span, 6) ?? 0)] ?? "unspecified",
    startTimeMs: Number(first(span, 7) ?? 0) / 1e6,
    endTimeMs: Number(first(span, 8) ?? 0) / 1e6,
    attributes: attributes(span, 9),
    events: messages(span, 11).map((event) => ({ name: text(event, 2), attributes: attributes(event, 3) })),
    links: messages(span, 13).map((link) => ({ traceId: hex(link, 1), spanId: hex(link, 2) })),
    statusMessage: text(status, 2),
    status: statuses[Number(first(status, 3) ?? 0)] ?? "unset",
  };
}

function read(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields: Fields = new Map();
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    let value: Uint8Array | bigint | number;
    if (wireType === WireType.Varint) value = BigInt(reader.int64());
    else if (wireType === WireType.Bit64) value = BigInt(reader.fixed64());
    else if (wireType === WireType.Bit32) value = reader.fixed32();
    else value = reader.bytes();
    fields.set(field, [...(fields.get(field) ?? []), value]);
  }
  return fields;
}

const first = (fields: Fields, field: number) => fields.get(field)?.[0];

const data = (fields: Fields, field: number): Uint8Array[] =>
  (fields.get(field) ?? []).filter((value) => value instanceof Uint8Array);

const messages = (fields: Fields | undefined, field: number): Fields[] =>
  fields === undefined ? [] : data(fields, field).map(read);

const text = (fields: Fields, field: number): string => Buffer.from(data(fields, field)[0] ?? []).toString("utf8");

const hex = (fields: Fields, field: number): string => Buffer.from(data(fields, field)[0] ?? []).toString("hex");

/** A list of KeyValue messages. */
function attributes(fields: Fields | undefined, field: number): Record<string, Value> {
  return Object.fromEntries(
    messages(fields, field).map((pair) => [text(pair, 1), anyValue(messages(pair, 2)[0] ?? new Map())]),
  );
}

/** An AnyValue: a oneof of string, bool, int, double, array (and two more that span attributes do not use). */
function anyValue(value: Fields): Value {
  if (value.has(1)) return text(value, 1);
  if (value.has(2)) return first(value, 2) === 1n;
  if (value.has(3)) return Number(first(value, 3));
  const double = first(value, 4);
  if (typeof double === "bigint") return new Float64Array(BigUint64Array.of(double).buffer)[0] ?? 0;
  if (value.has(5)) return messages(messages(value, 5)[0], 1).map(anyValue);
  return null;
}
