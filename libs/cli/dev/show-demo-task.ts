import { runDemoTask } from "./demo-task.ts";
import type { Screen } from "./screen.ts";

const patienceMs = 10_000;

/** Sends one task through the mesh and tells how it went. That it did not come back in time is told, and no error. */
export async function showDemoTask(screen: Screen, dispatcherHttpPort: number, signal: AbortSignal): Promise<void> {
  try {
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]);
    const { input, result, durationMs, traceId } = await runDemoTask(dispatcherHttpPort, inTime);
    const duration = `${durationMs.toFixed(durationMs < 10 ? 1 : 0)} ms`;
    screen.tell({
      event: "demo_task",
      text: `greet ${input} → ${result}\n      in ${duration}, trace ${traceId}`,
      fields: { capability: "greet", result: JSON.parse(result), duration_ms: durationMs, trace_id: traceId },
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
