import { CommanderError } from "commander";
import { LegionError } from "#libs/client/errors.ts";
import { exitCodes } from "./cli-error.ts";
import { behindCommand } from "./leading-options.ts";
import { buildProgram } from "./program.ts";
import { note, paint, printable } from "./terminal.ts";

/** Runs the command line and ends the process with its exit code. */
export async function main(args: readonly string[]): Promise<void> {
  // Whoever reads our output has read enough, as `head` does.
  process.stdout.on("error", (error: NodeJS.ErrnoException) =>
    process.exit(error.code === "EPIPE" ? 0 : exitCodes.failed),
  );
  process.stderr.on("error", () => {});
  let exitCode = 0;
  try {
    await buildProgram((code) => (exitCode = code)).parseAsync(behindCommand(args), { from: "user" });
  } catch (error) {
    exitCode = tell(error);
  }
  // What is written to a pipe may still be on its way; a socket that lingers must not keep us.
  process.stdout.write("", () => process.exit(exitCode));
}

/** Says what went wrong, and returns the exit code for it. */
function tell(error: unknown): number {
  // Commander has said it already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage;
  const prefix = paint("red", "legion:", process.stderr);
  if (error instanceof LegionError) {
    note(`${prefix} ${printable(error.message)}`);
    for (const { field, description } of error.violations) note(`  ${printable(`${field}: ${description}`)}`);
    if (error.help !== undefined) note(error.help);
    else if (error.code === "UNIMPLEMENTED" && error.reason === undefined) note(anotherService);
    return exitCodeOf(error);
  }
  if (isExpected(error)) {
    note(`${prefix} ${printable(error.message)}`);
    return error.exitCode;
  }
  note(`${prefix} a defect of this program:`);
  note(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return exitCodes.failed;
}

const anotherService =
  "Another service answers there, or another release of it: see what LEGION_REGISTRY, LEGION_DISPATCHER, LEGION_RATELIMIT and LEGION_WATCHDOG say.";

function exitCodeOf({ code }: LegionError): number {
  if (code === "INVALID_ARGUMENT" || code === "ALREADY_EXISTS") return exitCodes.usage;
  return code === "UNAVAILABLE" ? exitCodes.unreachable : exitCodes.failed;
}

/** Errors whose message is all that a person needs say so. */
function isExpected(error: unknown): error is Error & { exitCode: number } {
  return (
    error instanceof Error &&
    "expected" in error &&
    error.expected === true &&
    "exitCode" in error &&
    typeof error.exitCode === "number"
  );
}
