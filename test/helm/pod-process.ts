import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { delimiter, dirname, join } from "node:path";
import { repositoryRoot } from "../harness/run-program.ts";

const living = new Set<ChildProcess>();
// A test that fails leaves nothing behind.
process.on("exit", () => living.forEach((child) => child.kill("SIGKILL")));

export interface PodProcess {
  /** What it printed, both streams. */
  readonly output: () => string;
  readonly exited: Promise<number | null>;
  readonly stop: () => void;
  readonly kill: () => void;
}

/**
 * Runs a container's command as a process, with that environment and no more: neither what this process was given nor what
 * a developer's shell has. The image has `legion` on its path, and begins in the project's folder.
 */
export function startContainer(command: readonly string[], env: Readonly<Record<string, string>>): PodProcess {
  const [program = "", ...args] = command;
  const real = program === "legion" ? [join(repositoryRoot, "libs/cli/bin.js"), ...args] : args;
  if (program !== "legion" && program !== "node") throw new Error(`The image has no ${program}.`);
  const path = [dirname(process.execPath), "/usr/bin", "/bin"].join(delimiter);
  const child = spawn(process.execPath, real, {
    cwd: repositoryRoot,
    env: { PATH: path, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  living.add(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output = (output + text).slice(-20_000)));
  }
  const exited = once(child, "close").then(([code]) => {
    living.delete(child);
    return code as number | null;
  });
  return { output: () => output, exited, stop: () => void child.kill("SIGTERM"), kill: () => void child.kill("SIGKILL") };
}
