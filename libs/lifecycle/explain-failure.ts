import type { Logger } from "#libs/telemetry/logger.ts";

/**
 * Tells why the process ends, and returns its exit code. An error that says `expected: true` or has an `exitCode` is the
 * fault of a setting or a surrounding: its message alone goes to standard error. Anything else is ours: the log gets it,
 * with its stack.
 */
export function explainFailure(error: unknown, log: Logger): number {
  const { expected, exitCode, message } = (error ?? {}) as {
    expected?: unknown;
    exitCode?: unknown;
    message?: unknown;
  };
  const code = typeof exitCode === "number" ? exitCode : 1;
  if (expected === true || typeof exitCode === "number") {
    process.stderr.write(`${String(message)}\n`);
  } else {
    log.fatal("unexpected failure, exiting", { err: error });
  }
  return code;
}
