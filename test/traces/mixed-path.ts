import { trace } from "@opentelemetry/api";
import { join } from "node:path";
import { LegionCore } from "#libs/client/index.ts";
import { fetchTrace } from "#libs/cli/trace/jaeger-api.ts";
import type { TraceSpan } from "#libs/cli/trace/trace-span.ts";
import { startTelemetry } from "#libs/telemetry/start-telemetry.ts";
import { cleanly, pythonWithTraces } from "../agents/python/environments.ts";
import { go } from "../conformance/languages/go.ts";
import { freePorts } from "../harness/free-ports.ts";
import { type Mesh, startMesh } from "../harness/mesh.ts";
import { waitFor } from "../harness/wait-for.ts";
import { Jaeger } from "../tools/jaeger/jaeger.ts";
import { startProgram } from "./program.ts";

export interface MixedPath extends AsyncDisposable {
  readonly jaeger: Jaeger;
  readonly mesh: Mesh;
  readonly traceId: string;
  /** What Jaeger has of it. */
  readonly spans: readonly TraceSpan[];
  /** The task that was tried twice. */
  readonly retriedTaskId: string;
}

/** How many spans the mixed path has, all in all. */
export const spanCount = 28;

/**
 * A client in TypeScript gives the mesh two tasks under a span of its own. The first waits for an agent, fails in Python and is
 * done in Go; the second runs in Python, which gives the mesh another one, done in Go.
 */
export async function runMixedPath(): Promise<MixedPath> {
  await using stack = new AsyncDisposableStack();
  const [python, goPrograms] = await Promise.all([pythonWithTraces(), go.prepare()]);
  const [otlpGrpc = 0, otlpHttp = 0, query = 0] = await freePorts(3);
  const jaeger = stack.use(await Jaeger.start({ otlpGrpc, otlpHttp, query }));
  const tracing = { OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.otlpHttp, OTEL_BSP_SCHEDULE_DELAY: "50" };
  Object.assign(process.env, tracing);
  const mesh = stack.use(await startMesh({ env: tracing }));
  const startPython = () => {
    const file = join(import.meta.dirname, "agent.py");
    return stack.use(startProgram({ file: python, args: [file] }, { ...mesh.env, ...cleanly }));
  };
  const startGo = () => {
    const setting = { AGENT_ID: "worker", CAPABILITIES: "sleep,echo", OTEL_SERVICE_NAME: "worker" };
    return stack.use(startProgram(goPrograms.agent, { ...mesh.env, ...setting }));
  };

  const retriedTaskId = "night-1";
  const telemetry = await startTelemetry({ serviceName: "client", serviceVersion: "1", instanceId: "1" });
  let traceId = "";
  {
    await using _flush = telemetry;
    await using core = new LegionCore({ dispatcher: mesh.dispatcher.address });
    await trace.getTracer("client").startActiveSpan("order", async (span) => {
      traceId = span.spanContext().traceId;
      const slept = core.dispatchTask(retriedTaskId, { ms: 300 }, "sleep", { retryPolicy: { initialDelayMs: 100 } });
      await waitFor(async () => (await core.getTask(retriedTaskId)).state === "QUEUED", { describe: "the first task" });
      const first = startPython();
      await first.exited;
      startGo();
      await slept;
      startPython();
      await core.dispatchTask("report-1", { rows: 3 }, "report");
      span.end();
    });
  }

  let spans: readonly TraceSpan[] = [];
  await waitFor(
    async () => {
      spans = (await fetchTrace(jaeger.url, traceId)) ?? [];
      return spans.length >= spanCount;
    },
    {
      describe: () => `${spanCount} spans; there are ${spans.map(({ service, name }) => `${service}:${name}`).join()}`,
    },
  );
  const kept = stack.move();
  return { jaeger, mesh, traceId, spans, retriedTaskId, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}
