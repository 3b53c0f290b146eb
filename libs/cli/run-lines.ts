import { once } from "node:events";
import { systemClock } from "#libs/clock/clock.ts";
import { sleep } from "#libs/clock/sleep.ts";
import { toLegionError } from "#libs/client/errors.ts";
import { TaskStream } from "#libs/client/task-stream.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { exitCodes } from "./cli-error.ts";
import { badLine, outcomeLine, refusalLine } from "./line-text.ts";
import type { LineText } from "./line-text.ts";
import { LinesProgress } from "./lines-progress.ts";
import { Mesh } from "./mesh.ts";
import { OrderedWindow } from "./ordered-window.ts";
import { readLines } from "./read-lines.ts";
import type { InputLine } from "./read-lines.ts";
import { taskFromFlags } from "./task-flags.ts";
import type { RunFlags } from "./task-flags.ts";
import { openLines, taskDataProblem } from "./task-input.ts";
import { note, oneLine } from "./terminal.ts";

// As many more than are outstanding as let one slow task hold up nobody for a while.
const maxEntries = 4_000;
const maxBytes = 64 * 1024 * 1024;

/** Runs a task for each line of the input and returns the exit code. */
export async function runLines(capability: string, input: string | undefined, flags: RunFlags): Promise<number> {
  const { chunks, size } = await openLines(input);
  await using mesh = new Mesh(flags);
  await mesh.assertReachable();
  using progress = new LinesProgress(size);
  using stream = new TaskStream({
    endpoints: mesh.endpoints,
    onTrouble: ({ message }) => progress.trouble(`${oneLine(message)} Waiting for the mesh to come back.`),
    onRecovered: () => progress.recovered("The mesh is back."),
  });
  using cleanup = new DisposableStack();
  cleanup.use(exitOnInterrupt(progress, stream, flags));
  const window = new OrderedWindow({ write: writeOut, maxEntries, maxBytes });

  for await (const lines of readLines(chunks)) {
    for (const line of lines) {
      const room = window.room();
      if (room !== undefined) await room;
      const finish = window.begin(line.bytes.length);
      const end = ({ ok, text }: LineText): void => {
        progress.count(ok, line.bytes.length + 1);
        finish(text);
      };
      void runLine(line, capability, flags, stream).then(end);
    }
  }
  await window.empty();
  progress[Symbol.dispose]();
  note(progress.summary());
  return progress.failed === 0 ? 0 : exitCodes.failed;
}

/** Never rejects: what goes wrong with a line is the line's text. */
async function runLine(line: InputLine, capability: string, flags: RunFlags, stream: TaskStream): Promise<LineText> {
  const problem = line.tooLong ? " is longer than 4 MiB." : taskDataProblem(line.bytes);
  if (problem !== undefined) return badLine(line.number, problem);
  let spec: TaskSpec | undefined;
  try {
    const taskId = flags.taskId === undefined ? undefined : `${flags.taskId}-${line.number}`;
    spec = taskFromFlags(capability, line.bytes, flags, taskId);
    return outcomeLine(await runAtTheLimitsPace(spec, flags, stream));
  } catch (thrown) {
    return refusalLine(toLegionError(thrown), spec?.taskId ?? "");
  }
}

async function runAtTheLimitsPace(spec: TaskSpec, { waitTimeout }: RunFlags, stream: TaskStream) {
  for (;;) {
    try {
      return await stream.run(spec, { timeoutMs: waitTimeout });
    } catch (thrown) {
      const { reason, retryDelayMs } = toLegionError(thrown);
      if (reason !== "RATE_LIMITED" || retryDelayMs === undefined) throw thrown;
      await sleep(systemClock, retryDelayMs);
    }
  }
}

async function writeOut(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, "drain");
}

/** What was handed over goes on; what was read is safe to read again, if the tasks' names say which line they are. */
function exitOnInterrupt(progress: LinesProgress, stream: TaskStream, { taskId }: RunFlags): Disposable {
  const interrupt = (): void => {
    const { outstanding } = stream;
    progress[Symbol.dispose]();
    note(`\n${progress.summary()}`);
    note(`Interrupted; ${outstanding.toLocaleString("en")} tasks that were handed over go on.`);
    if (taskId === undefined) note("With --task-id, the same command could go on where this one stopped.");
    else note("The same command again runs no finished line twice.");
    process.exit(exitCodes.interrupted);
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  return { [Symbol.dispose]: () => void process.off("SIGINT", interrupt).off("SIGTERM", interrupt) };
}
