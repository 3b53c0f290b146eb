import type { Command } from "commander";
import { meshOptions } from "../options.ts";
import { taskFlags } from "../task-flags.ts";
import type { SubmitFlags } from "../task-flags.ts";
import { submitLines, submitTask } from "../submit-tasks.ts";

const help = `
Input is JSON, @file, or - for standard input; without it, {}.

With --jsonl each line of standard input (or @file) is a task; blank lines are
skipped. One id a line comes out, in the order of the input. A line that is
refused is named on standard error; with --json it is {"error":{…}} in its place.

Exit codes: 0 stored, 1 a line was not, 2 bad usage or input, 3 mesh not
reachable.

Examples:
  legion submit greet '{"name":"Ada"}'
  legion submit wordcount --jsonl --task-id monday < in.jsonl > ids.txt`;

export function registerSubmit(program: Command, setExitCode: (code: number) => void): void {
  taskFlags(meshOptions(program.command("submit").summary("give the mesh a task and print its id")))
    .description("Gives the mesh a task and prints its id when it is stored.")
    .argument("<capability>", "what an agent must be able to do")
    .argument("[input]", "JSON, @file or -")
    .option("--jsonl", "one task a line")
    .addHelpText("after", help)
    .action(async (capability: string, input: string | undefined, flags: SubmitFlags) => {
      setExitCode(await (flags.jsonl ? submitLines : submitTask)(capability, input, flags));
    });
}
