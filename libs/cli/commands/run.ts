import type { Command } from "commander";
import { durationMs, meshOptions } from "../options.ts";
import { runLines } from "../run-lines.ts";
import { runTask } from "../run-task.ts";
import { taskFlags } from "../task-flags.ts";
import type { RunFlags } from "../task-flags.ts";

const help = `
Input is JSON, @file, or - for standard input; without it, {}.
The result goes to standard output, everything else to standard error.

With --jsonl each line of standard input (or @file) is a task; blank lines are
skipped. Results come in the order of the input: a completed task's line is its
result, any other's is {"error":{…}}. It goes on through restarts of the mesh.
With --task-id the tasks are called <id>-<line>: the same command again, after a
crash, runs no finished line twice. --wait-timeout is for each line.

Exit codes: 0 completed, 1 failed or canceled, 2 bad usage or input,
3 mesh not reachable, 4 gave up waiting.

Examples:
  legion run greet '{"name":"Ada"}'
  legion run wordcount @book.json --timeout 30s
  legion run wordcount --jsonl --task-id monday < in.jsonl > out.jsonl`;

export function registerRun(program: Command, setExitCode: (code: number) => void): void {
  taskFlags(meshOptions(program.command("run").summary("give the mesh a task and print its result")))
    .description("Gives the mesh a task, waits, and prints its result as JSON.")
    .argument("<capability>", "what an agent must be able to do")
    .argument("[input]", "JSON, @file or -")
    .option("--wait-timeout <duration>", "stop waiting after this long; the task goes on", durationMs("1ms", "30d"))
    .option("--jsonl", "one task a line, results in the order of the input")
    .addHelpText("after", help)
    .action(async (capability: string, input: string | undefined, flags: RunFlags) => {
      setExitCode(await (flags.jsonl ? runLines : runTask)(capability, input, flags));
    });
}
