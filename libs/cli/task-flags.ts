import { type Command, Option } from "commander";
import { taskSpec } from "#libs/client/task-spec.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { MeshOptions } from "./options.ts";
import { costs, durationMs, labels, namespaceOption, wholeNumber } from "./options.ts";

/** What `run` and `submit` may say about a task. */
export interface TaskFlags {
  readonly taskId?: string;
  readonly priority?: number;
  readonly timeout?: number;
  readonly maxAttempts?: number;
  readonly user?: string;
  readonly label?: Record<string, string>;
  readonly cost?: Record<string, bigint>;
  readonly whenLimited?: "refuse" | "wait";
  readonly namespace?: string;
}

export interface SubmitFlags extends MeshOptions, TaskFlags {
  readonly jsonl?: boolean;
}

export interface RunFlags extends SubmitFlags {
  readonly waitTimeout?: number;
}

export function taskFlags(command: Command): Command {
  return namespaceOption(
    command
      .option("--task-id <id>", "its id: the same id again is the same task (with --jsonl: <id>-<line>)")
      .option("--priority <n>", "higher runs first, -1000 to 1000 (default: 0)", wholeNumber(-1_000, 1_000))
      .option("--timeout <duration>", "how long one attempt may run, such as 30s", durationMs("1ms", "30d"))
      .option("--max-attempts <n>", "attempts in all, 1 to 100 (default: 3)", wholeNumber(1, 100))
      .option("--user <name>", "whom it is for; limits may be per user")
      .option("--label <key=value>", "a label; can be given several times", labels)
      .option("--cost <[unit=]n>", "what it counts for, such as 5 or llm_tokens=900 (default: 1)", costs)
      .addOption(
        new Option("--when-limited <what>", "over a limit: be refused, or wait (default: refuse)").choices([
          "refuse",
          "wait",
        ]),
      ),
  );
}

/** @throws LegionError */
export function taskFromFlags(capability: string, data: Uint8Array, flags: TaskFlags, taskId = flags.taskId): TaskSpec {
  const { priority, timeout, maxAttempts, user, label, cost, whenLimited, namespace } = flags;
  return taskSpec(taskId, capability, data, {
    namespace,
    priority,
    executionTimeoutMs: timeout,
    retryPolicy: maxAttempts === undefined ? undefined : { maxAttempts },
    user,
    labels: label,
    costs: cost,
    whenLimited,
  });
}
