import type { Command } from "commander";
import { TaskSchema, TaskState, TaskStateSchema } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Task } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { traceIdOf } from "#libs/telemetry/traceparent.ts";
import { Mesh } from "../mesh.ts";
import { meshOptions, namespaceOption } from "../options.ts";
import type { MeshOptions } from "../options.ts";
import { outcomeText, payloadLine } from "../outcome-text.ts";
import { enumName, renderJson } from "../render-json.ts";
import { facts } from "../table.ts";
import { columnsOf, oneLine, print, printJson } from "../terminal.ts";
import { agoText, betweenText, dateText } from "../time-text.ts";

export function registerGet(program: Command): void {
  namespaceOption(meshOptions(program.command("get").summary("show a task")))
    .description("Shows a task as it is now.")
    .argument("<task-id>")
    .action(async (taskId: string, flags: MeshOptions & { namespace?: string }) => {
      await using mesh = new Mesh(flags);
      const request = { taskId, namespace: flags.namespace ?? "" };
      const { task } = await mesh.call((client, settings) => client.getTask(request, settings));
      if (task === undefined) throw new TypeError("The Dispatcher answered without a task.");
      if (flags.json) printJson(renderJson(TaskSchema, task));
      else for (const line of taskFacts(task)) print(line);
    });
}

function taskFacts(task: Task): string[] {
  const { submitTime, startTime, finishTime, runTime, labels, requiredLabels, lastFailure, maxAttempts } = task;
  const now = Date.now();
  const at = (time: typeof submitTime): string | undefined => time && `${dateText(time)} (${agoText(time, now)})`;
  const state = enumName(TaskStateSchema, task.state);
  const attempt = task.attempt > 0 ? `  (attempt ${task.attempt} of ${maxAttempts})` : "";
  const failure = lastFailure && `${lastFailure.code || "ERROR"}: ${lastFailure.message}`;
  const known: [string, string | undefined][] = [
    ["task", task.taskId],
    ["namespace", task.namespace === "default" ? "" : task.namespace],
    ["capability", task.capability],
    ["state", `${state}${attempt}${task.cancelRequested && finishTime === undefined ? "  (asked to stop)" : ""}`],
    // After a failure that is what it says, in other words.
    ["waits", task.state === TaskState.SCHEDULED && failure !== undefined ? "" : task.waitingReason],
    ["last failure", failure],
    ["agent", task.agentId],
    ["user", task.user],
    ["priority", task.priority === 0 ? "" : String(task.priority)],
    ["labels", labels.map(({ key, value }) => `${key}=${value}`).join(" ")],
    ["needs", requiredLabels.map(({ key, value }) => `${key}=${value}`).join(" ")],
    ["submitted", at(submitTime)],
    ["runs at", at(runTime)],
    ["started", at(startTime)],
    ["finished", at(finishTime)],
    ["took", betweenText(startTime, finishTime)],
    ["trace", traceIdOf(task.traceparent)],
    ["input", payloadLine(task.taskData)],
    ["outcome", task.outcome && outcomeText(task.outcome)],
  ];
  const width = columnsOf(process.stdout);
  const lines = facts(known.map(([name, value]) => [name, value && oneLine(value)]));
  return width === undefined ? lines : lines.map((line) => shortened(line, width));
}

/** A payload can be megabytes; three lines of it tell what it is. */
function shortened(line: string, width: number): string {
  const longest = width * 3;
  return line.length <= longest ? line : `${line.slice(0, longest - 22)}… (all of it: --json)`;
}
