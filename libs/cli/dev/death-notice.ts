import { type ChildExit, describeExit } from "./child.ts";
import type { Notice } from "./screen.ts";

/** What is said of a process that ended unasked and is about to be started again. */
export function deathNotice(
  name: string,
  exit: ChildExit,
  lastError: string | undefined,
  restartDelayMs: number,
): Notice {
  return {
    event: "process_ended",
    process: name,
    level: "warn",
    text: `ended (${describeDeath(exit, lastError)}), starts again in ${restartDelayMs / 1_000} s`,
    fields: { exit_code: exit.code, signal: exit.signal, last_error: lastError, restart_delay_ms: restartDelayMs },
  };
}

/** `exit code 1: Error: no luck`. */
export function describeDeath(exit: ChildExit, lastError: string | undefined): string {
  return lastError === undefined ? describeExit(exit) : `${describeExit(exit)}: ${lastError}`;
}
