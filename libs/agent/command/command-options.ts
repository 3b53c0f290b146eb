export interface CommandOptions {
  /** Where it runs. Default: the directory of this process. */
  readonly cwd?: string;
  /**
   * Names of further variables of this process that the command may see. It always sees PATH, HOME, LANG, LC_ALL,
   * LC_CTYPE, TMPDIR and TZ, and nothing else. Default none.
   */
  readonly inheritEnv?: readonly string[];
  /** Variables set for the command; they win over inherited ones. Default none. */
  readonly env?: Readonly<Record<string, string>>;
  /** What it reads from its standard input; a string goes as UTF-8. Default: nothing. */
  readonly stdin?: string | Uint8Array;
  /** How long it may run, in milliseconds. Default 60,000; at most 2^31 - 1 (24 days). */
  readonly timeoutMs?: number;
  /** How long it has from SIGTERM to SIGKILL, in milliseconds. Default 2,000. */
  readonly killGraceMs?: number;
  /** How much it may write to stdout, and as much again to stderr. Default 1 MiB; at most 256 MiB. */
  readonly maxOutputBytes?: number;
  /** Ends the command when it aborts, such as the `signal` of a task's context. */
  readonly signal?: AbortSignal;
  /** Whether anything but exit code 0 is an error. Default true: a failure that nobody looks at must not pass. */
  readonly check?: boolean;
}

export interface CommandResult {
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
  /** The signal that ended it, or null. */
  readonly signal: NodeJS.Signals | null;
  /** As UTF-8; what is not becomes U+FFFD. */
  readonly stdout: string;
  readonly stderr: string;
  /** From its start until it and all that it started had ended. */
  readonly durationMs: number;
}
