import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { TaskError } from "../task-error.ts";

const inherited = ["PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ"];
const plainName = /^[A-Za-z0-9_][A-Za-z0-9._+-]*$/;

function invalid(message: string): TaskError {
  return new TaskError(message, { code: "COMMAND_INVALID", retryable: false });
}

export function notFound(command: string, why: string): TaskError {
  const message = `The command ${command} cannot be run: ${why}.`;
  return new TaskError(message, { code: "COMMAND_NOT_FOUND", retryable: false });
}

/** The variables of this process that a command may see, and those set for it. */
export function commandEnvironment(
  names: readonly string[],
  set: Readonly<Record<string, string>>,
): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of [...inherited, ...names]) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  for (const [name, value] of Object.entries(set)) {
    if (!/^[^=\0]+$/.test(name)) throw invalid(`${JSON.stringify(name)} is no name of an environment variable.`);
    if (typeof value !== "string") throw invalid(`The environment variable ${name} is no string.`);
    if (value.includes("\0")) throw invalid(`The environment variable ${name} contains a NUL character.`);
    env[name] = value;
  }
  return env;
}

/** @throws TaskError `COMMAND_INVALID` */
export function checkArguments(args: readonly string[]): void {
  if (!Array.isArray(args)) throw invalid("The arguments are no list: a command line is never taken apart.");
  for (const [index, argument] of args.entries()) {
    if (typeof argument !== "string") throw invalid(`Argument ${index + 1} is no string.`);
    if (argument.includes("\0")) throw invalid(`Argument ${index + 1} contains a NUL character.`);
  }
}

/** @throws TaskError `COMMAND_INVALID` */
export async function checkDirectory(cwd: string): Promise<void> {
  if (typeof cwd !== "string" || cwd.includes("\0")) throw invalid("The working directory contains a NUL character.");
  const found = await stat(cwd).catch(() => undefined);
  if (!found?.isDirectory()) throw invalid(`The working directory ${cwd} is no directory.`);
}

/**
 * Where a command is: a plain name is looked for in the absolute directories of `path`. Others, such as `.` and the empty
 * one, would find what lies in the working directory.
 * @throws TaskError `COMMAND_INVALID` or `COMMAND_NOT_FOUND`
 */
export async function findCommand(command: string, path: string): Promise<string> {
  if (typeof command !== "string" || command.includes("\0")) throw invalid("The command contains a NUL character.");
  if (isAbsolute(command)) {
    if (await isExecutable(command)) return command;
    throw notFound(command, "it is no executable file");
  }
  if (!plainName.test(command)) {
    const given = JSON.stringify(command);
    throw invalid(`The command ${given} is neither a plain name, such as git, nor an absolute path.`);
  }
  for (const directory of path.split(delimiter)) {
    const file = join(directory, command);
    if (isAbsolute(directory) && (await isExecutable(file))) return file;
  }
  throw notFound(command, "it is in no directory of PATH");
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}
