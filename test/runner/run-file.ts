import { fork } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Ended, Message } from "./reporter.ts";

/** How a test file went. */
export interface FileResult {
  readonly file: string;
  readonly durationMs: number;
  /** Their names. */
  readonly passed: readonly string[];
  readonly skipped: readonly Failure[];
  readonly failed: readonly Failure[];
  /** What the file wrote to its standard output and error. */
  readonly output: string;
}

export interface Failure {
  readonly name: string;
  readonly detail: string;
}

const reporter = fileURLToPath(new URL("reporter.ts", import.meta.url));

/**
 * Runs one test file in a process of its own, for `limitMs` at most. Not through node:test's `run()`: that tells no
 * process id, and the SIGTERM it sends on a timeout leaves a process that ignores it (or its children) running for ever.
 */
export async function runFile(file: string, limitMs: number, signal: AbortSignal): Promise<FileResult> {
  const started = performance.now();
  const ended: Ended[] = [];
  const remarks: string[] = [];
  const running: string[] = [];
  let finished = false;
  let timedOut = false;
  let output = "";

  const child = fork(file, {
    // `detached` makes it the leader of a process group, so that what it started can be ended with it.
    detached: true,
    execArgv: [`--test-reporter=${reporter}`],
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  child.on("message", (message: Message) => {
    if ("ended" in message) ended.push(message.ended);
    else if ("remark" in message) remarks.push(message.remark);
    else if ("began" in message) running.push(message.began);
    else if ("over" in message) running.splice(running.lastIndexOf(message.over), 1);
    else finished = true;
  });
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (output += String(chunk)));

  const killGroup = (): void => {
    try {
      process.kill(-(child.pid ?? Number.NaN), "SIGKILL");
    } catch {
      // It is gone already.
    }
  };
  const limit = setTimeout(() => {
    timedOut = true;
    killGroup();
  }, limitMs);
  signal.addEventListener("abort", killGroup);
  // Every message comes before `disconnect`.
  const disconnected = new Promise((resolve) => child.once("disconnect", resolve));
  const closed = new Promise((resolve) => child.once("close", resolve));
  const exit = await new Promise<string>((resolve) => {
    child.once("exit", (code, killedBy) => resolve(killedBy ?? `code ${code}`));
    child.once("error", (error) => resolve(error.message));
  });
  clearTimeout(limit);
  signal.removeEventListener("abort", killGroup);
  killGroup();
  await disconnected;
  // What left the group holds the output open for as long as it likes.
  await Promise.race([closed, delay(500, undefined, { ref: false })]);

  const failed = ended.filter(({ result }) => result === "failed");
  const trouble = (detail: string): void => void failed.push({ name: file, result: "failed", detail });
  const said = remarks.map((remark) => `\n${remark}`).join("");
  const during = running.length === 0 ? "" : ` during ${running.map((name) => JSON.stringify(name)).join(", ")}`;
  if (timedOut) trouble(`It was still running after ${limitMs / 1_000} s${during} and was killed.${said}`);
  else if (ended.length === 0 && exit === "code 0")
    trouble(`It ended without the result of any test: there is none in it, or one exits.${said}`);
  else if (!finished) trouble(`It ended (${exit})${during || " before its tests did"}.${said}`);
  else if (exit !== "code 0" && failed.length === 0) trouble(`It failed (${exit}) outside its tests.${said}`);
  return {
    file,
    durationMs: performance.now() - started,
    passed: ended.filter(({ result }) => result === "passed").map(({ name }) => name),
    skipped: ended.filter(({ result }) => result === "skipped"),
    failed,
    output: output.trimEnd(),
  };
}
