import { systemClock } from "#libs/clock/clock.ts";
import { callJson } from "./call-json.ts";

export interface DemoResult {
  /** As JSON. */
  readonly input: string;
  readonly result: string;
  readonly durationMs: number;
  readonly traceId: string;
}

interface RunTaskAnswer {
  readonly task: {
    readonly traceparent?: string;
    readonly outcome?: { readonly completed?: { readonly result?: { readonly data?: string } } };
  };
}

/** Sends one `greet` through the whole mesh and waits for its result. */
export async function runDemoTask(dispatcherHttpPort: number, signal: AbortSignal): Promise<DemoResult> {
  const input = JSON.stringify({ name: "Ada" });
  const taskData = { contentType: "application/json", data: Buffer.from(input).toString("base64") };
  // In front of whatever an earlier run left in the queue.
  const task = { capability: "greet", taskData, priority: 1_000 };
  const startedMs = systemClock.monotonic();
  const method = "legion.dispatcher.v1.DispatcherService/RunTask";
  const answer = await callJson<RunTaskAnswer>(dispatcherHttpPort, method, { task }, signal);
  const durationMs = systemClock.monotonic() - startedMs;
  const { outcome, traceparent = "" } = answer.task;
  if (outcome?.completed === undefined) throw new Error(`the task did not complete: ${JSON.stringify(outcome)}`);
  const result = Buffer.from(outcome.completed.result?.data ?? "", "base64").toString();
  return { input, result, durationMs, traceId: traceparent.split("-")[1] ?? "" };
}
