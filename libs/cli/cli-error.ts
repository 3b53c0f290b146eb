export const exitCodes = { failed: 1, usage: 2, unreachable: 3, gaveUp: 4, interrupted: 130 } as const;

/** What ends a command, and its exit code. The message is all that a person needs: what was wrong, and what to do. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly expected = true;
  readonly exitCode: number;

  constructor(message: string, exitCode: number = exitCodes.failed) {
    super(message);
    this.exitCode = exitCode;
  }
}
