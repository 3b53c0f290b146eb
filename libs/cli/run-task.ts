import { LegionError, WaitTimeoutError } from "#libs/client/errors.ts";
import { isJson, payloadText } from "#libs/client/payload.ts";
import { TaskStream } from "#libs/client/task-stream.ts";
import { StreamOutcomeSchema } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type { StreamOutcome } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { CliError, exitCodes } from "./cli-error.ts";
import { followTask } from "./follow-task.ts";
import { Mesh } from "./mesh.ts";
import { renderJson, renderPayload } from "./render-json.ts";
import { StatusLine } from "./status-line.ts";
import { taskFromFlags } from "./task-flags.ts";
import type { RunFlags } from "./task-flags.ts";
import { readTaskInput } from "./task-input.ts";
import { oneLine, paint, print, printJson } from "./terminal.ts";
import { lengthText } from "./time-text.ts";

/** Runs one task and returns the exit code. */
export async function runTask(capability: string, input: string | undefined, flags: RunFlags): Promise<number> {
  const spec = taskFromFlags(capability, await readTaskInput(input), flags);
  await using mesh = new Mesh(flags);
  await mesh.assertReachable();
  using status = new StatusLine();
  using interrupts = onInterrupt(spec, status);
  const follower = followTask(mesh, spec, status);
  using stream = new TaskStream({
    endpoints: mesh.endpoints,
    onTrouble: (error) => follower.tell(`${oneLine(error.message)} Waiting for it to come back.`),
  });
  try {
    const { signal } = interrupts;
    const outcome = await stream.run(spec, { signal, timeoutMs: flags.waitTimeout });
    follower.stop();
    status.clear();
    return tellOutcome(outcome, flags.json ?? false);
  } catch (error) {
    follower.stop();
    status.clear();
    if (interrupts.signal.aborted) return exitCodes.interrupted;
    if (error instanceof WaitTimeoutError) throw gaveUp(spec, flags.waitTimeout ?? 0);
    throw error;
  }
}

function tellOutcome(finished: StreamOutcome, json: boolean): number {
  const { taskId, state, attempt, outcome } = finished;
  if (json) {
    const { ref: _, ...rendered } = renderJson(StreamOutcomeSchema, finished);
    printJson(rendered);
  }
  const tell = (text: string): void => void process.stderr.write(`legion: task ${taskId} ${text}\n`);
  switch (outcome?.kind.case) {
    case "completed": {
      const { result } = outcome.kind.value;
      if (json) return 0;
      if (result === undefined) print("null");
      else print(isJson(result) ? payloadText(result) : JSON.stringify(renderPayload(result)));
      return 0;
    }
    case "failed": {
      const { code, message } = outcome.kind.value;
      const tries = attempt > 1 ? ` after ${attempt} attempts` : "";
      const word = state === TaskState.DEAD ? `failed for good${tries}` : `failed${tries}`;
      tell(`${bad(word)}: ${oneLine(code || "ERROR")}: ${oneLine(message)}`);
      return exitCodes.failed;
    }
    case "canceled": {
      const { reason } = outcome.kind.value;
      tell(`${bad("was canceled")}${reason === "" ? "" : `: ${oneLine(reason)}`}`);
      return exitCodes.failed;
    }
    case undefined:
    default:
      throw new LegionError(`The outcome of task ${taskId} is of a kind this program does not know; update it.`, {
        code: "UNIMPLEMENTED",
      });
  }
}

function gaveUp({ taskId, namespace }: TaskSpec, timeoutMs: number): CliError {
  const at = namespace === "" ? "" : ` --namespace ${namespace}`;
  return new CliError(
    `Gave up waiting after ${lengthText(timeoutMs)}; the task goes on. To see it:\n  legion get ${taskId}${at}`,
    exitCodes.gaveUp,
  );
}

function bad(text: string): string {
  return paint("red", text, process.stderr);
}

/** Ctrl-C ends the waiting, not the task; whoever pressed it is told so. */
function onInterrupt({ taskId, namespace }: TaskSpec, status: StatusLine): Disposable & { signal: AbortSignal } {
  const controller = new AbortController();
  const at = namespace === "" ? "" : ` --namespace ${namespace}`;
  const interrupt = (): void => {
    status.note(`\nNo longer waiting; the task goes on. To stop it:\n  legion cancel ${taskId}${at}`);
    controller.abort();
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => void process.off("SIGINT", interrupt).off("SIGTERM", interrupt),
  };
}
