import { systemClock } from "#libs/clock/clock.ts";
import { callJson } from "./call-json.ts";

export interface DemoResult {
  /** As JSON. */
  readonly input: string;
  readonly result: string;
  readonly durationMs: number;
  readonly taskId: string;
  readonly traceId: string;
}

interface RunTaskAnswer {
  readonly task: {
    readonly taskId?: string;
    readonly traceparent?: string;
    readonly outcome?: { readonly completed?: { readonly result?: { readonly data?: string } } };
  };
}

/**
 * Sends one `greet` through the whole mesh and waits for its result.
 * @param parent the client's span, W3C; by default the trace begins in the mesh.
 */
export async function runDemoTask(dispatcherHttpPort: number, signal: AbortSignal, parent = ""): Promise<DemoResult> {
  const input = JSON.stringify({ name: "Ada" });
  const taskData = { contentType: "application/json", data: Buffer.from(input).toString("base64") };
  // In front of whatever an earlier run left in the queue.
  const task = { capability: "greet", taskData, priority: 1_000, traceparent: parent };
  const startedMs = systemClock.monotonic();
  const method = "legion.dispatcher.v1.DispatcherService/RunTask";
  const answer = await callJson<RunTaskAnswer>(dispatcherHttpPort, method, { task }, signal);
  const durationMs = systemClock.monotonic() - startedMs;
  const { taskId = "", outcome, traceparent = "" } = answer.task;
  if (outcome?.completed === undefined) throw new Error(`the task did not complete: ${JSON.stringify(outcome)}`);
  const result = Buffer.from(outcome.completed.result?.data ?? "", "base64").toString();
  return { input, result, durationMs, taskId, traceId: traceparent.split("-")[1] ?? "" };
}
