import { type ChildProcess, spawn } from "node:child_process";
import { TaskError } from "../task-error.ts";
import { checkArguments, checkDirectory, commandEnvironment, findCommand, notFound } from "./command-line.ts";
import type { CommandOptions, CommandResult } from "./command-options.ts";
import { OutputBuffer } from "./output-buffer.ts";
import { ProcessGroup } from "./process-group.ts";

const maxTimerMs = 2 ** 31 - 1;
// What came last says most about a failure; this much goes into its message.
const quotedCharacters = 1_000;
// How long a process that left the group may keep the pipes silent before they are given up.
const silenceMs = 250;

/**
 * Runs a program with a list of arguments, never through a shell, in a process group of its own. When the promise settles
 * the whole group is gone: at a timeout, a cancel or too much output it gets SIGTERM and, after a grace, SIGKILL; what a
 * command that ends by itself leaves running is killed at once. A process that makes a session of its own (`setsid`, a
 * daemon) escapes that, and a SIGKILL of the agent leaves commands running. For POSIX systems.
 * @param command a plain name, found in the absolute directories of PATH, or an absolute path.
 * @throws TaskError, not retryable: `COMMAND_INVALID` (a NUL character, a relative path, a bad directory, too many
 * arguments), `COMMAND_NOT_FOUND`, `OUTPUT_TOO_LARGE`. Retryable: `COMMAND_TIMEOUT`, `COMMAND_CANCELED` (its cause is the
 * signal's reason), `COMMAND_NOT_STARTED` (the system is short of something), and unless `check` is false
 * `COMMAND_FAILED`, with `details: { exitCode, signal }` and the end of stderr in its message.
 * @throws RangeError if a limit is out of range.
 */
export async function runCommand(
  command: string,
  args: readonly string[] = [],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { cwd = process.cwd(), inheritEnv = [], env: set = {}, signal } = options;
  const { timeoutMs = 60_000, killGraceMs = 2_000, maxOutputBytes = 1024 * 1024 } = options;
  checkLimit("timeoutMs", timeoutMs, 1, maxTimerMs);
  checkLimit("killGraceMs", killGraceMs, 0, maxTimerMs);
  checkLimit("maxOutputBytes", maxOutputBytes, 0, 256 * 1024 * 1024);
  checkArguments(args);
  const env = commandEnvironment(inheritEnv, set);
  await checkDirectory(cwd);
  const file = await findCommand(command, env["PATH"] ?? "");
  const canceled = (): TaskError =>
    new TaskError(`${command} was canceled.`, { code: "COMMAND_CANCELED", cause: signal?.reason });
  if (signal?.aborted) throw canceled();

  const startedMs = performance.now();
  const child = start(command, file, args, { cwd, env, withStdin: options.stdin !== undefined });
  const closed = Promise.withResolvers<void>();
  // A program that could not be started has no pid and no group.
  child.once("error", (error) => closed.reject(notStarted(command, error)));
  child.once("close", () => closed.resolve());
  if (child.pid === undefined) await closed.promise;

  using group = new ProcessGroup(child.pid!);
  using leftovers = new DisposableStack();
  let failure: TaskError | undefined;
  const stdout = new OutputBuffer(maxOutputBytes);
  const stderr = new OutputBuffer(maxOutputBytes);
  const giveUpPipes = (): void => {
    // Twice silent: after a busy event loop the first timer may fire before what has come was read.
    let [received, silences] = [-1, 0];
    const timer = setInterval(() => {
      const now = stdout.received + stderr.received;
      silences = now === received && failure === undefined ? silences + 1 : 0;
      received = now;
      if (silences < 2 && failure === undefined) return;
      child.stdout!.destroy();
      child.stderr!.destroy();
    }, silenceMs);
    leftovers.defer(() => clearInterval(timer));
  };
  const end = (error: TaskError): void => {
    failure ??= error;
    if (failure === error) group.terminate(killGraceMs, giveUpPipes);
  };
  for (const [name, stream, buffer] of [
    ["stdout", child.stdout!, stdout],
    ["stderr", child.stderr!, stderr],
  ] as const) {
    stream.on("data", (chunk: Buffer) => {
      if (buffer.add(chunk)) return;
      const message = `${command} wrote more than ${maxOutputBytes} bytes to ${name} and was ended.`;
      end(new TaskError(message, { code: "OUTPUT_TOO_LARGE", retryable: false }));
    });
  }
  child.once("exit", () => {
    if (failure !== undefined) return;
    group.kill();
    giveUpPipes();
  });
  const timedOut = `${command} did not end within ${timeoutMs} ms and was ended.`;
  const timer = setTimeout(() => end(new TaskError(timedOut, { code: "COMMAND_TIMEOUT" })), timeoutMs);
  leftovers.defer(() => clearTimeout(timer));
  const cancel = (): void => end(canceled());
  signal?.addEventListener("abort", cancel, { once: true });
  leftovers.defer(() => signal?.removeEventListener("abort", cancel));
  // It may end, or close its input, without having read all.
  child.stdin?.on("error", () => {});
  child.stdin?.end(options.stdin);

  await closed.promise;
  if (failure !== undefined) throw failure;
  const ending = { exitCode: child.exitCode, signal: child.signalCode };
  const result = { ...ending, stdout: stdout.text(), stderr: stderr.text(), durationMs: performance.now() - startedMs };
  if ((options.check ?? true) && result.exitCode !== 0) throw failed(command, result);
  return result;
}

interface StartSettings {
  readonly cwd: string;
  readonly env: Record<string, string>;
  readonly withStdin: boolean;
}

function start(command: string, file: string, args: readonly string[], settings: StartSettings): ChildProcess {
  const { cwd, env, withStdin } = settings;
  try {
    return spawn(file, args, { cwd, env, stdio: [withStdin ? "pipe" : "ignore", "pipe", "pipe"], detached: true });
  } catch (error) {
    throw notStarted(command, error as NodeJS.ErrnoException);
  }
}

function notStarted(command: string, cause: NodeJS.ErrnoException): TaskError {
  if (cause.code === "ENOENT" || cause.code === "EACCES") return notFound(command, `the system says ${cause.code}`);
  const tooLong = cause.code === "E2BIG";
  const code = tooLong ? "COMMAND_INVALID" : "COMMAND_NOT_STARTED";
  const why = tooLong ? "its arguments are longer than the system takes" : cause.message;
  return new TaskError(`${command} could not be started: ${why}.`, { code, retryable: !tooLong, cause });
}

function failed(command: string, { exitCode, signal, stderr }: CommandResult): TaskError {
  const how = signal === null ? `exited with code ${exitCode}` : `was ended by ${signal}`;
  const said = stderr.trim().slice(-quotedCharacters);
  const message = `${command} ${how}${said === "" ? "." : `: ${said}`}`;
  return new TaskError(message, { code: "COMMAND_FAILED", details: { exitCode, signal } });
}

function checkLimit(name: string, value: number, min: number, max: number): void {
  if (value >= min && value <= max) return;
  throw new RangeError(`${name} is ${value}; it must be from ${min} to ${max}.`);
}
