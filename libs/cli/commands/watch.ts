import type { Command } from "commander";
import { watchTask } from "#libs/client/watch-task.ts";
import { TaskEventSchema, TaskState, TaskStateSchema } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { TaskEvent } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { exitCodes } from "../cli-error.ts";
import { Mesh } from "../mesh.ts";
import { meshOptions, namespaceOption } from "../options.ts";
import type { MeshOptions } from "../options.ts";
import { outcomeText } from "../outcome-text.ts";
import { enumName, renderJson } from "../render-json.ts";
import { note, oneLine, print } from "../terminal.ts";
import { clockText } from "../time-text.ts";

const help = `
A line for each change, the outcome last. With --json each line is a JSON object.
It goes on through restarts of the mesh.

Exit codes: 0 the task completed, 1 it failed, was canceled or is not known,
3 mesh not reachable.`;

export function registerWatch(program: Command, setExitCode: (code: number) => void): void {
  namespaceOption(meshOptions(program.command("watch").summary("tell what happens to a task until it ends")))
    .description("Tells what happens to a task until it ends.")
    .argument("<task-id>")
    .addHelpText("after", help)
    .action(async (taskId: string, flags: MeshOptions & { namespace?: string }) => {
      await using mesh = new Mesh(flags);
      await mesh.assertReachable();
      const task = { taskId, namespace: flags.namespace ?? "" };
      for await (const event of watchTask(mesh.endpoints, task, { onTrouble })) {
        if (flags.json) print(JSON.stringify(renderJson(TaskEventSchema, event)));
        else print(eventLine(event));
        const kind = event.outcome?.kind.case;
        if (kind !== undefined) setExitCode(kind === "completed" ? 0 : exitCodes.failed);
      }
    });
}

function onTrouble({ message }: Error): void {
  note(`${oneLine(message)} Waiting for it to come back.`);
}

function eventLine({
  time,
  state,
  attempt,
  agentId,
  waitingReason,
  progress,
  lastFailure,
  outcome,
}: TaskEvent): string {
  const parts = [clockText(time), enumName(TaskStateSchema, state).padEnd("SCHEDULED".length)];
  if (attempt > 0) parts.push(`attempt ${attempt}`);
  if (outcome !== undefined) parts.push(outcomeText(outcome));
  else if (progress !== undefined) parts.push(`${Math.floor(progress.fraction * 100)} %`, progress.message);
  else {
    // A waiting reason after a failure says the same in other words.
    if (lastFailure !== undefined && state === TaskState.SCHEDULED) {
      parts.push(`failed (${lastFailure.code || "ERROR"}: ${lastFailure.message}), will be tried again`);
    } else if (waitingReason !== "") parts.push(waitingReason);
    else if (agentId !== "") parts.push(`on ${agentId}`);
  }
  return parts
    .filter((part) => part !== "")
    .map((part, index) => (index < 2 ? part : oneLine(part)))
    .join("  ")
    .trimEnd();
}
