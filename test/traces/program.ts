import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Command } from "../conformance/language.ts";

export interface Program extends AsyncDisposable {
  /** Resolves when it has ended by itself, with 0. @throws with what it wrote when it ends otherwise. */
  readonly exited: Promise<void>;
}

/** A program beside the test. Disposing it kills it. */
export function startProgram({ file, args, env }: Command, variables: NodeJS.ProcessEnv): Program {
  const lines: string[] = [];
  const child = spawn(file, args, { env: { ...variables, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  for (const stream of [child.stdout, child.stderr]) createInterface(stream).on("line", (line) => lines.push(line));
  const kill = (): boolean => child.kill("SIGKILL");
  process.once("exit", kill);
  const closed = once(child, "close") as Promise<[number | null]>;
  const exited = closed.then(([code]) => {
    process.off("exit", kill);
    if (code !== 0) throw new Error(`${file} ended with ${code}:\n${lines.slice(-20).join("\n")}`);
  });
  // Who waits for its end is told; that it was killed is no news.
  exited.catch(() => {});
  return {
    exited,
    async [Symbol.asyncDispose]() {
      kill();
      await closed;
    },
  };
}
