import { connect } from "node:net";

/** Where the spans of a mesh on this machine go. */
export interface TraceTarget {
  readonly endpoint: string;
  /** Nobody named it: it was found. */
  readonly found: boolean;
  /** For the processes of the mesh. */
  readonly env: Readonly<Record<string, string>>;
  /** Where Jaeger's pages may be. */
  readonly jaeger: string;
}

type Ports = Readonly<Record<"grpc" | "http/protobuf", number>>;

// Loopback answers or refuses within a millisecond; what swallows connections is no collector.
const probeMs = 200;
const defaultPorts: Ports = { grpc: 4317, "http/protobuf": 4318 };

/**
 * The collector that OpenTelemetry's variables name; else one that listens on this machine, at the standard port. Undefined: there
 * is none, or those variables turn traces off.
 */
export async function findTraces(
  env: NodeJS.ProcessEnv,
  ports: Ports = defaultPorts,
): Promise<TraceTarget | undefined> {
  const given = (name: string): string => env[name]?.trim() ?? "";
  if (/^(true|1|yes|on)$/i.test(given("OTEL_SDK_DISABLED")) || given("OTEL_TRACES_EXPORTER") === "none")
    return undefined;
  const jaeger = (given("JAEGER_URL") || "http://127.0.0.1:16686").replace(/\/+$/, "");
  // For people who look at the trace right after the start.
  const haste = given("OTEL_BSP_SCHEDULE_DELAY") === "" ? { OTEL_BSP_SCHEDULE_DELAY: "500" } : {};
  const named = given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") || given("OTEL_EXPORTER_OTLP_ENDPOINT");
  if (named !== "") return { endpoint: named, found: false, env: haste, jaeger };
  const protocol = given("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") || given("OTEL_EXPORTER_OTLP_PROTOCOL") || "grpc";
  const port = protocol === "grpc" ? ports.grpc : ports["http/protobuf"];
  if (!(await listens(port))) return undefined;
  const endpoint = `http://127.0.0.1:${port}`;
  const how = { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: protocol };
  return { endpoint, found: true, env: { ...haste, ...how }, jaeger };
}

/** The page of a trace, if Jaeger answers where it should be. */
export async function tracePage({ jaeger }: TraceTarget, traceId: string): Promise<string | undefined> {
  try {
    const response = await fetch(`${jaeger}/api/services`, { signal: AbortSignal.timeout(1_000) });
    const { data } = (await response.json()) as { data?: unknown };
    return data === undefined ? undefined : `${jaeger}/trace/${traceId}`;
  } catch {
    return undefined;
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: probeMs });
    const answer = (is: boolean): void => {
      socket.destroy();
      resolve(is);
    };
    socket.once("connect", () => answer(true));
    socket.once("timeout", () => answer(false));
    socket.once("error", () => answer(false));
  });
}
