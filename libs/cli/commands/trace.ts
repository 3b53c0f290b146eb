import type { Command } from "commander";
import { readEnv, url } from "#libs/config/env.ts";
import { TaskState, TaskStateSchema, type Task } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { traceIdOf } from "#libs/telemetry/traceparent.ts";
import { CliError, exitCodes } from "../cli-error.ts";
import { Mesh } from "../mesh.ts";
import { meshOptions, namespaceOption, webAddress } from "../options.ts";
import type { MeshOptions } from "../options.ts";
import { enumName } from "../render-json.ts";
import { columnsOf, note, oneLine, paint, print, printJson } from "../terminal.ts";
import { traceOfRecord } from "../trace/from-record.ts";
import { fetchTrace, JaegerError } from "../trace/jaeger-api.ts";
import { renderTrace, type SpanKind } from "../trace/render-trace.ts";
import { timeText } from "../trace/span-time.ts";
import { isOfTask, spansOfTask } from "../trace/task-spans.ts";
import type { TraceSpan } from "../trace/trace-span.ts";

interface TraceFlags extends MeshOptions {
  readonly namespace?: string;
  readonly jaeger?: string;
  readonly all?: boolean;
}

export const traceEnv = {
  JAEGER_URL: url({ doc: "where Jaeger's query API answers", example: "http://127.0.0.1:16686" }),
};

const defaultJaeger = "http://127.0.0.1:16686";
const help = `
From Jaeger, if it answers: by --jaeger, or JAEGER_URL, or at
${defaultJaeger} (where \`npm run jaeger\` puts it). Otherwise from the
task's own record, which has the times of its submission, of its last attempt
and of its end, but no spans.

Exit codes: 0 shown, 1 there is no such task, 2 bad usage, 3 the mesh, or the
Jaeger that was asked for, is not reachable.`;

export function registerTrace(program: Command): void {
  namespaceOption(meshOptions(program.command("trace").summary("show where a task's time went")))
    .description("Shows where a task's time went: a line for each span of its trace.")
    .argument("<task-id>")
    .option("--jaeger <url>", `Jaeger's query API (default: JAEGER_URL or ${defaultJaeger})`, webAddress)
    .option("--all", "the whole trace, with what its caller did beside this task")
    .addHelpText("after", help)
    .action(showTrace);
}

/** What is shown, and where it is from. */
interface Shown {
  readonly source: "jaeger" | "record";
  /** The page of the trace. */
  readonly url: string | undefined;
  readonly spans: readonly TraceSpan[];
  /** What is not shown, or not known. */
  readonly remarks: readonly string[];
}

async function showTrace(taskId: string, flags: TraceFlags): Promise<void> {
  const asked = flags.jaeger ?? readEnv(traceEnv, process.env).JAEGER_URL;
  await using mesh = new Mesh(flags);
  const request = { taskId, namespace: flags.namespace ?? "" };
  const { task } = await mesh.call((client, settings) => client.getTask(request, settings));
  if (task === undefined) throw new TypeError("The Dispatcher answered without a task.");
  const traceId = traceIdOf(task.traceparent);
  const shown = await traceOf(task, traceId, { asked, all: flags.all ?? false });
  if (flags.json) printJson(traceJson(task, traceId, shown));
  else tell(task, traceId, shown);
}

async function traceOf(
  task: Task,
  traceId: string | undefined,
  { asked, all }: { asked: string | undefined; all: boolean },
): Promise<Shown> {
  const base = (asked ?? defaultJaeger).replace(/\/+$/, "");
  let why: string;
  try {
    const trace = traceId === undefined ? undefined : await fetchTrace(base, traceId);
    const own = trace === undefined ? [] : spansOfTask(trace, task.taskId);
    if (trace !== undefined && own.length > 0) {
      const spans = all ? trace : own;
      return { source: "jaeger", url: `${base}/trace/${traceId}`, spans, remarks: remarksOn(task, trace, spans) };
    }
    why = `Jaeger at ${base} does not have this trace: its spans are not sent yet, or not to it (OTEL_EXPORTER_OTLP_ENDPOINT), or no longer kept.`;
  } catch (error) {
    if (!(error instanceof JaegerError)) throw error;
    if (asked !== undefined) throw new CliError(error.message, exitCodes.unreachable);
    why = `No Jaeger answers at ${base}: \`npm run jaeger\` starts one there, for tasks to come; --jaeger URL says if it is elsewhere.`;
  }
  const { spans, gaps } = traceOfRecord(task, Date.now());
  return { source: "record", url: undefined, spans, remarks: [...gaps, why] };
}

function remarksOn(task: Task, trace: readonly TraceSpan[], spans: readonly TraceSpan[]): string[] {
  const remarks: string[] = [];
  const hidden = trace.length - spans.length;
  if (hidden > 0) remarks.push(`${hidden} more ${hidden === 1 ? "span" : "spans"} of the same trace: --all`);
  const isEnd = (span: TraceSpan): boolean => span.name.startsWith("finish ") && isOfTask(span, task.taskId);
  const neverBegan = task.state === TaskState.CANCELED || task.attempt === 0;
  if (task.finishTime !== undefined && !neverBegan && trace.filter(isEnd).length < task.attempt)
    remarks.push("Not all of its spans have come.");
  return remarks;
}

function tell(task: Task, traceId: string | undefined, { source, url: page, spans, remarks }: Shown): void {
  const { taskId, capability, state, attempt, maxAttempts } = task;
  const tries = attempt > 0 ? `, attempt ${attempt} of ${maxAttempts}` : "";
  print(`task   ${oneLine(taskId)}  ${capability}  ${enumName(TaskStateSchema, state)}${tries}`);
  const begin = Math.min(...spans.map(({ startUs }) => startUs));
  const end = Math.max(...spans.map(({ startUs, durationUs }) => startUs + durationUs));
  const size = `${spans.length} ${spans.length === 1 ? "span" : "spans"} in ${timeText(end - begin)}`;
  print(`trace  ${traceId ?? "none"}${source === "jaeger" ? `  ${size}` : ""}`);
  print(`from   ${page ?? "the task's own record"}`);
  if (spans.length > 0) print("");
  const styles = { failed: "red", wait: "yellow", execute: "green", other: "cyan" } as const;
  const colored = (kind: SpanKind, text: string): string => paint(styles[kind], text, process.stdout);
  for (const line of renderTrace(spans, { width: columnsOf(process.stdout), paint: colored })) print(line);
  for (const remark of remarks) note(oneLine(remark));
}

function traceJson(task: Task, traceId: string | undefined, { source, url: page, spans, remarks }: Shown): object {
  return {
    task_id: task.taskId,
    state: enumName(TaskStateSchema, task.state),
    trace_id: traceId ?? null,
    source,
    url: page ?? null,
    spans: spans.map(({ spanId, parentId, name, service, startUs, durationUs, failed, failure, attributes }) => ({
      span_id: spanId,
      parent_id: parentId ?? null,
      name,
      service,
      start_us: startUs,
      duration_us: durationUs,
      failed,
      failure,
      attributes,
    })),
    remarks,
  };
}
