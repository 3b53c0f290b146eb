import { execFile } from "node:child_process";
import type { Command } from "./language.ts";

export interface ClientResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a client of some language to its end. */
export function runClient(
  { file, args, env }: Command,
  given: readonly string[],
  variables: Readonly<Record<string, string>>,
): Promise<ClientResult> {
  return new Promise((resolve, reject) => {
    const options = { env: { ...programEnvironment(), ...env, ...variables }, timeout: 40_000 };
    execFile(file, [...args, ...given], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : error.code;
      if (typeof code === "number") resolve({ code, stdout, stderr });
      else reject(new Error(`The client did not end by itself: ${error?.message}\n${stderr}`, { cause: error }));
    });
  });
}

/** What any program may expect of its surroundings, and nothing of this process's own settings. */
export function programEnvironment(): Record<string, string> {
  const { PATH = "", HOME = "" } = process.env;
  return { PATH, HOME, LANG: "C.UTF-8" };
}
