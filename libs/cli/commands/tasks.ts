import type { Command } from "commander";
import { taskStates } from "#libs/client/task-view.ts";
import type { TaskStateName } from "#libs/client/task-view.ts";
import { ListTasksResponseSchema } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { TaskState, TaskStateSchema } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Task } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { Mesh } from "../mesh.ts";
import { meshOptions, namespaceOption, wholeNumber, wordsOption } from "../options.ts";
import type { MeshOptions } from "../options.ts";
import { enumName, renderJson } from "../render-json.ts";
import { table } from "../table.ts";
import { columnsOf, note, print, printJson } from "../terminal.ts";
import { agoText } from "../time-text.ts";

interface TasksFlags extends MeshOptions {
  readonly namespace?: string;
  readonly state?: TaskStateName[];
  readonly capability?: string;
  readonly user?: string;
  readonly limit: number;
}

export function registerTasks(program: Command): void {
  namespaceOption(meshOptions(program.command("tasks").summary("list tasks, newest first")))
    .description("Lists tasks, newest first. All filters must hold.")
    .addOption(wordsOption("--state <state>", "only in this state, or in one of several", taskStates))
    .option("--capability <name>", "only for this capability")
    .option("--user <name>", "only for this user")
    .option("--limit <n>", "at most this many", wholeNumber(1, 1_000), 50)
    .action(async (flags: TasksFlags) => {
      await using mesh = new Mesh(flags);
      const { namespace = "", capability = "", user = "", state = [], limit } = flags;
      const request = { namespace, capability, user, states: state.map((name) => TaskState[name]), pageSize: limit };
      const page = await mesh.call((client, settings) => client.listTasks(request, settings));
      if (flags.json) {
        printJson(renderJson(ListTasksResponseSchema, page));
        return;
      }
      if (page.tasks.length === 0) note(nothing(flags));
      else for (const line of taskTable(page.tasks)) print(line);
      if (page.nextPageToken !== "")
        note(`There are more than these ${limit}: see --limit, --state, --capability and --user.`);
    });
}

function taskTable(tasks: readonly Task[]): string[] {
  const now = Date.now();
  return table(
    [
      { title: "TASK" },
      { title: "STATE" },
      { title: "TRIES", align: "right" },
      { title: "SUBMITTED", align: "right" },
      { title: "CAPABILITY", flexible: true },
    ],
    tasks.map(({ taskId, state, attempt, maxAttempts, submitTime, capability }) => [
      taskId,
      enumName(TaskStateSchema, state),
      `${attempt}/${maxAttempts}`,
      agoText(submitTime, now),
      capability,
    ]),
    columnsOf(process.stdout),
  );
}

function nothing({ state, capability, user, namespace }: TasksFlags): string {
  const filtered = state !== undefined || capability !== undefined || user !== undefined;
  if (filtered) return "No task passes these filters.";
  const where = namespace === undefined ? "" : ` in namespace ${namespace}`;
  return `No tasks yet${where}. Give the mesh one: legion run greet '{"name":"Ada"}'`;
}
