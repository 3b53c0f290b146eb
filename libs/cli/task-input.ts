import { isUtf8 } from "node:buffer";
import { fstatSync } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { kindOfJson } from "#libs/client/task-data.ts";
import { CliError, exitCodes } from "./cli-error.ts";
import { findJsonError } from "./json-error.ts";

// No mesh can be configured to take more than 3.5 MiB.
const maxBytes = 3.5 * 1024 * 1024;

/**
 * A task's input as it was given: JSON, `@file` or `-` for standard input; undefined means `{}`. Passed on byte for byte.
 * @throws CliError when it cannot be read or is not a JSON object
 */
export async function readTaskInput(given: string | undefined): Promise<Buffer> {
  if (given === undefined) return Buffer.from("{}");
  const bytes = await readGiven(given);
  const name = given === "-" ? "Standard input" : given.startsWith("@") ? given.slice(1) : "The input";
  const problem = taskDataProblem(bytes);
  if (problem !== undefined) throw new CliError(`${name}${problem}`, exitCodes.usage);
  return bytes;
}

/** Why bytes are no task data, to follow the name of where they come from; undefined if they are. */
export function taskDataProblem(bytes: Buffer): string | undefined {
  if (bytes.length > maxBytes) return tooLarge(bytes.length);
  if (!isUtf8(bytes)) return " is not UTF-8: convert it, for example with iconv.";
  const text = bytes.toString();
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return undefined;
    return ` is ${kindOfJson(text)}, but a task's input must be a JSON object, such as {"name":"Ada"}.`;
  } catch {
    if (text.trim() === "") return ' is empty: expected a JSON object, such as {"name":"Ada"}.';
    const error = findJsonError(text);
    if (error === undefined) return " is not valid JSON.";
    return ` is not valid JSON: line ${error.line}, column ${error.column}: ${error.problem}.`;
  }
}

function tooLarge(bytes: number): string {
  const size = (bytes / 1024 / 1024).toFixed(1);
  return ` has ${size} MiB, and at most 3.5 MiB can be sent: store it elsewhere and send a reference to it.`;
}

async function readGiven(given: string): Promise<Buffer> {
  if (given === "-") return Buffer.concat(await process.stdin.toArray());
  if (!given.startsWith("@")) return Buffer.from(given);
  const file = given.slice(1);
  try {
    const { size } = await stat(file);
    if (size > maxBytes) throw new CliError(`${file}${tooLarge(size)}`, exitCodes.usage);
    return await readFile(file);
  } catch (error) {
    throw error instanceof CliError ? error : unreadable(file, error);
  }
}

/** The lines of `@file`, or of standard input; `size` in bytes where it is known beforehand. */
export async function openLines(
  given: string | undefined,
): Promise<{ chunks: AsyncIterable<Buffer>; size: number | undefined }> {
  if (given === undefined || given === "-") {
    const stats = fstatSync(0);
    return { chunks: process.stdin, size: stats.isFile() ? stats.size : undefined };
  }
  if (!given.startsWith("@")) {
    throw new CliError(`With --jsonl the input is @file or standard input, not ${given}.`, exitCodes.usage);
  }
  try {
    const file = await open(given.slice(1));
    const stats = await file.stat();
    return { chunks: file.createReadStream(), size: stats.isFile() ? stats.size : undefined };
  } catch (error) {
    throw unreadable(given.slice(1), error);
  }
}

function unreadable(file: string, error: unknown): CliError {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const why = code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "it is a directory" : String(error);
  return new CliError(`${file} cannot be read: ${why}.`, exitCodes.usage);
}
