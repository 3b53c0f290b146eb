import { once } from "node:events";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { legionErrorFromStatus } from "#libs/client/errors.ts";
import { callDispatcher } from "#libs/client/unary-call.ts";
import type { Status } from "#libs/proto/google/rpc/status_pb.ts";
import { SubmitTaskResponseSchema } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { SubmitResult } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { exitCodes } from "./cli-error.ts";
import { badLine, refusalLine } from "./line-text.ts";
import { LinesProgress } from "./lines-progress.ts";
import { Mesh } from "./mesh.ts";
import { readLines } from "./read-lines.ts";
import type { InputLine } from "./read-lines.ts";
import { renderJson } from "./render-json.ts";
import { taskFromFlags } from "./task-flags.ts";
import type { SubmitFlags } from "./task-flags.ts";
import { openLines, readTaskInput, taskDataProblem } from "./task-input.ts";
import { note, oneLine, print, printJson } from "./terminal.ts";

const maxBatchTasks = 500;
const maxBatchBytes = 8 * 1024 * 1024;
const callTimeoutMs = 30_000;
const againAfterMs = 1_000;
const unavailable = 14;

/** Submits one task and returns the exit code. */
export async function submitTask(capability: string, input: string | undefined, flags: SubmitFlags): Promise<number> {
  const task = taskFromFlags(capability, await readTaskInput(input), flags);
  await using mesh = new Mesh(flags);
  const response = await mesh.call((client, settings) => client.submitTask({ task }, settings));
  if (flags.json) printJson(renderJson(SubmitTaskResponseSchema, response));
  else print(response.taskId);
  return 0;
}

interface SubmitLine {
  readonly line: InputLine;
  /** The task, or why there is none. */
  readonly task: TaskSpec | undefined;
  readonly problem: string | undefined;
}

/** Submits a task for each line of the input and returns the exit code. */
export async function submitLines(capability: string, input: string | undefined, flags: SubmitFlags): Promise<number> {
  const { chunks, size } = await openLines(input);
  await using mesh = new Mesh(flags);
  await mesh.assertReachable();
  using progress = new LinesProgress(size);
  let batch: SubmitLine[] = [];
  let bytes = 0;
  const send = async (): Promise<void> => {
    const lines = batch;
    batch = [];
    bytes = 0;
    if (lines.length > 0) await submitBatch(lines, mesh, progress, flags);
  };
  for await (const lines of readLines(chunks)) {
    for (const line of lines) {
      batch.push(lineTask(line, capability, flags));
      bytes += line.bytes.length;
      if (batch.length >= maxBatchTasks || bytes >= maxBatchBytes) await send();
    }
  }
  await send();
  progress[Symbol.dispose]();
  note(progress.summary());
  return progress.failed === 0 ? 0 : exitCodes.failed;
}

function lineTask(line: InputLine, capability: string, flags: SubmitFlags): SubmitLine {
  const problem = line.tooLong ? " is longer than 4 MiB." : taskDataProblem(line.bytes);
  if (problem !== undefined) return { line, task: undefined, problem };
  const taskId = flags.taskId === undefined ? undefined : `${flags.taskId}-${line.number}`;
  return { line, task: taskFromFlags(capability, line.bytes, flags, taskId), problem: undefined };
}

async function submitBatch(
  lines: SubmitLine[],
  mesh: Mesh,
  progress: LinesProgress,
  flags: SubmitFlags,
): Promise<void> {
  const results = await submitAll(
    lines.flatMap(({ task }) => task ?? []),
    mesh,
    progress,
  );
  let next = 0;
  let text = "";
  for (const { line, task, problem } of lines) {
    const result = task === undefined ? undefined : results[next++];
    const accepted = result?.kind.case === "accepted" ? result.kind.value : undefined;
    progress.count(accepted !== undefined, line.bytes.length + 1);
    if (accepted !== undefined) {
      text += `${flags.json ? JSON.stringify(renderJson(SubmitTaskResponseSchema, accepted)) : accepted.taskId}\n`;
      continue;
    }
    const error =
      result?.kind.case === "error" ? legionErrorFromStatus(result.kind.value, task?.taskId ?? "") : undefined;
    const why = error === undefined ? (problem ?? " got no answer.") : ` was refused: ${error.message}`;
    if (!flags.json) progress.note(`Line ${line.number} ${oneLine(why)}`);
    else text += `${(error === undefined ? badLine(line.number, why) : refusalLine(error, error.taskId ?? "")).text}\n`;
  }
  if (text !== "" && !process.stdout.write(text)) await once(process.stdout, "drain");
}

/** One result for each task, in order. What the mesh cannot take for now is given to it again: its id makes that harmless. */
async function submitAll(
  tasks: TaskSpec[],
  mesh: Mesh,
  progress: LinesProgress,
): Promise<(SubmitResult | undefined)[]> {
  const results = new Map<TaskSpec, SubmitResult | undefined>();
  const trouble = (message: string): void => progress.trouble(`${oneLine(message)} Waiting for the mesh to come back.`);
  for (let open = tasks; open.length > 0; open = open.filter((task) => !results.has(task))) {
    const answer = await callDispatcher(
      mesh.endpoints,
      { retryForMs: Infinity, timeoutMs: callTimeoutMs, onTrouble: ({ message }) => trouble(message) },
      (client, settings) => client.submitTasks({ tasks: open }, settings),
    );
    let away: Status | undefined;
    for (const [index, task] of open.entries()) {
      const result = answer.results[index];
      const status = result?.kind.case === "error" ? result.kind.value : undefined;
      if (status?.code === unavailable) away = status;
      else results.set(task, result);
    }
    if (away === undefined) progress.recovered("The mesh is back.");
    else {
      trouble(away.message);
      await sleep(systemClock, againAfterMs);
    }
  }
  return tasks.map((task) => results.get(task));
}
