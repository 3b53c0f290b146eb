import { createServer } from "node:net";
import { parseArgs } from "node:util";
import { whyNoGo } from "../go-tools.ts";
import { Jaeger, type JaegerPorts } from "./jaeger.ts";

const usage = `Usage: npm run jaeger -- [--otlp-grpc-port 4317] [--otlp-http-port 4318] [--query-port 16686]

Runs Jaeger on 127.0.0.1 until Ctrl-C. It keeps its traces in memory. The first time it is built, which needs Go.`;

const flags = {
  "otlp-grpc-port": { type: "string", default: "4317" },
  "otlp-http-port": { type: "string", default: "4318" },
  "query-port": { type: "string", default: "16686" },
  help: { type: "boolean", short: "h" },
} as const;

class UsageError extends Error {}

try {
  await main();
} catch (error) {
  console.error(`jaeger: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(error instanceof UsageError ? 2 : 1);
}

async function main(): Promise<void> {
  const values = readFlags();
  if (values.help === true) return console.log(usage);
  const ports: JaegerPorts = {
    otlpGrpc: port("otlp-grpc-port", values["otlp-grpc-port"]),
    otlpHttp: port("otlp-http-port", values["otlp-http-port"]),
    query: port("query-port", values["query-port"]),
  };
  // Two interrupts: the first ends it as it should, the second at once.
  const interrupted = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => {
        resolve();
        process.once(signal, () => process.exit(130));
      });
    }
  });
  await checkPorts(ports);
  const started = await Promise.race([Jaeger.start(ports, announceBuild), interrupted]);
  if (started === undefined) process.exit(130);
  await using jaeger = started;
  console.log(`Jaeger is ready. Traces are at  ${jaeger.url}  and in  npx legion trace TASK_ID
It takes spans at ${jaeger.otlpHttp} (OTLP over HTTP) and ${jaeger.otlpGrpc} (OTLP over gRPC);
npm start finds it there, other programs by  OTEL_EXPORTER_OTLP_ENDPOINT=${jaeger.otlpHttp}
Ctrl-C ends it, and forgets all traces.`);
  const ended = jaeger.exited.then(() => "ended" as const);
  if ((await Promise.race([ended, interrupted])) === "ended") {
    throw new Error(`Jaeger has ended by itself:\n${jaeger.lastLines}`);
  }
}

function readFlags() {
  try {
    return parseArgs({ options: flags }).values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${usage}`);
  }
}

function port(name: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= 65_535) return value;
  throw new UsageError(`--${name} ${text}: expected a port, 1 to 65535.`);
}

async function checkPorts(ports: JaegerPorts): Promise<void> {
  const wanted = [
    [ports.otlpGrpc, "spans over gRPC", "otlp-grpc-port"],
    [ports.otlpHttp, "spans over HTTP", "otlp-http-port"],
    [ports.query, "its API and pages", "query-port"],
  ] as const;
  for (const [number, what, flag] of wanted) {
    const problem = await listenProblem(number);
    if (problem === undefined) continue;
    const why = problem === "EADDRINUSE" ? "is taken by another process" : `cannot be listened on (${problem})`;
    throw new Error(`Port ${number}, for ${what}, ${why}: choose another with  npm run jaeger -- --${flag} N`);
  }
}

function listenProblem(number: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen(number, "127.0.0.1", () => server.close(() => resolve(undefined)));
  });
}

/** @throws when it cannot be built */
function announceBuild(): void {
  const why = whyNoGo();
  if (why !== undefined)
    throw new Error(`Jaeger is built from its source, once, and ${why}; Go 1.26 or newer is needed`);
  console.log("Building Jaeger: once, some minutes on 2 cores; it downloads Go modules …");
}
