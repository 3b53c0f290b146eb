import type { Command } from "commander";
import { CancelTaskResponseSchema } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { TaskState, TaskStateSchema } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { Mesh } from "../mesh.ts";
import { meshOptions, namespaceOption } from "../options.ts";
import type { MeshOptions } from "../options.ts";
import { enumName, renderJson } from "../render-json.ts";
import { print, printJson } from "../terminal.ts";

interface CancelFlags extends MeshOptions {
  readonly namespace?: string;
  readonly reason?: string;
}

export function registerCancel(program: Command): void {
  namespaceOption(meshOptions(program.command("cancel").summary("ask for a task to be stopped")))
    .description("Asks for a task to be stopped. One that has ended stays as it is, and that is no error.")
    .argument("<task-id>")
    .option("--reason <text>", "why; its agent is told, and it is kept with the task")
    .action(async (taskId: string, flags: CancelFlags) => {
      await using mesh = new Mesh(flags);
      const request = { taskId, namespace: flags.namespace ?? "", reason: flags.reason ?? "" };
      const response = await mesh.call((client, settings) => client.cancelTask(request, settings));
      if (flags.json) printJson({ task_id: taskId, ...renderJson(CancelTaskResponseSchema, response) });
      else if (response.state === TaskState.CANCELED) print("canceled");
      else if (response.state === TaskState.LEASED) print("asked to stop: its agent is being told");
      else print(`not stopped: it had ended ${enumName(TaskStateSchema, response.state)}`);
    });
}
