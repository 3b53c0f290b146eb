import type { DemoClient } from "./demo-client.ts";
import { tracePage, type TraceTarget } from "./find-traces.ts";
import type { Screen } from "./screen.ts";

export interface DemoOptions {
  readonly run: DemoClient;
  readonly dispatcherHttpPort: number;
  /** Where its spans go, if they go anywhere. */
  readonly traces: TraceTarget | undefined;
}

const patienceMs = 10_000;

/** Sends one task through the mesh and tells how it went. That it did not come back in time is told, and no error. */
export async function showDemoTask(screen: Screen, options: DemoOptions, signal: AbortSignal): Promise<void> {
  const { run, dispatcherHttpPort, traces } = options;
  try {
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]);
    const { input, result, durationMs, taskId, traceId } = await run(dispatcherHttpPort, inTime);
    const duration = `${durationMs.toFixed(durationMs < 10 ? 1 : 0)} ms`;
    const page = traces && (await tracePage(traces, traceId));
    screen.tell({
      event: "demo_task",
      text: `greet ${input} → ${result}\n      in ${duration}, trace ${page ?? traceId}`,
      fields: {
        capability: "greet",
        task_id: taskId,
        result: JSON.parse(result),
        duration_ms: durationMs,
        trace_id: traceId,
        trace_url: page,
      },
    });
  } catch (error) {
    if (signal.aborted) return;
    const { name, message } = error as Error;
    const why = name === "TimeoutError" ? `not back within ${patienceMs / 1_000} s` : message;
    screen.tell({
      event: "demo_task",
      level: "warn",
      text: `The demo task went wrong: ${why}`,
      fields: { error: why },
    });
  }
}
