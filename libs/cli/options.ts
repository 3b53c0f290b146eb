import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { duration } from "#libs/config/env.ts";
import type { DurationText } from "#libs/config/env.ts";

/** What every command that talks to a mesh takes. */
export interface MeshOptions {
  readonly portBase?: number;
  readonly json?: boolean;
}

export function meshOptions(command: Command): Command {
  return command
    .option("--json", "print one JSON document, for programs")
    .option("--port-base <n>", "the mesh's ports begin after it (default: 7400)", portBase);
}

export function namespaceOption(command: Command): Command {
  return command.option("--namespace <name>", "the tenant (default: default)");
}

export const portBase = wholeNumber(0, 65_521);

/** An address that `fetch` takes, of http or https. */
export function webAddress(text: string): string {
  if (/^https?:$/.test(URL.parse(text)?.protocol ?? "")) return text;
  throw new InvalidArgumentError("Expected an address, such as http://127.0.0.1:16686.");
}

/** Parses an option's value; commander shows what it throws beside the option's name. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^[+-]?\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(
      `Expected a whole number from ${min.toLocaleString("en")} to ${max.toLocaleString("en")}.`,
    );
  };
}

/** `250ms`, `30s`, `5m`, `2h`, `1d`, as milliseconds. */
export function durationMs(min: DurationText, max: DurationText): (text: string) => number {
  const { parse, expected } = duration({ doc: "", min, max });
  return (text) => {
    try {
      const ms = parse(text);
      if (ms !== undefined) return ms;
    } catch (error) {
      const hint = error instanceof Error && error.message !== "" ? `; ${error.message}` : "";
      throw new InvalidArgumentError(`Expected ${expected}, such as 30s${hint}.`);
    }
    throw new InvalidArgumentError(`Expected ${expected}, such as 30s.`);
  };
}

/** `key=value`, given any number of times. */
export function labels(text: string, before: Record<string, string> = {}): Record<string, string> {
  const equals = text.indexOf("=");
  if (equals < 1) throw new InvalidArgumentError("Expected key=value, such as region=eu.");
  return { ...before, [text.slice(0, equals)]: text.slice(equals + 1) };
}

/** `n` (of tasks) or `unit=n`, given any number of times. */
export function costs(text: string, before: Record<string, bigint> = {}): Record<string, bigint> {
  const [, unit = "", amount] = /^(?:([^=]+)=)?(\d{1,18})$/.exec(text) ?? [];
  if (amount === undefined)
    throw new InvalidArgumentError("Expected a whole number or unit=number, such as llm_tokens=900.");
  return { ...before, [unit]: BigInt(amount) };
}

/** One or more of a few words, in any case, separated by commas or given several times. */
export function wordsOption(flags: string, description: string, words: readonly string[]): Option {
  return new Option(flags, `${description} (${words.join(", ")})`).argParser(
    (text: string, before: string[] | undefined) => {
      const wanted = text.split(",").map((word) => word.trim().toUpperCase());
      const known = words.filter((word) => wanted.includes(word));
      if (known.length === new Set(wanted).size) return [...(before ?? []), ...known];
      throw new InvalidArgumentError(`Expected one or more of ${words.join(", ")}, separated by commas.`);
    },
  );
}
