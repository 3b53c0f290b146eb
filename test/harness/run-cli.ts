import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";
import { packageRoot } from "#libs/cli/dev/package-root.ts";

export interface CliOptions {
  /** On top of this process's own, such as `mesh.env`. */
  readonly env?: NodeJS.ProcessEnv;
  /** Standard input. Default: empty. */
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
  /** Then it is killed. Default 60,000. */
  readonly timeoutMs?: number;
}

export interface CliResult {
  /** 128 + n when signal n ended it, as in a shell. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `legion <args>` to its end. */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const child = spawnCli(args, options);
  const result = collect(child);
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  return await result;
}

/** Starts `legion <args>` for a test that talks to it; it is killed when the test's process ends. */
export function spawnCli(
  args: readonly string[],
  { env, cwd, timeoutMs = 60_000 }: CliOptions = {},
): ChildProcessWithoutNullStreams {
  const child = spawn(process.execPath, [join(packageRoot, "libs/cli/bin.js"), ...args], {
    // A collector that happens to listen on this machine is no part of a test.
    env: { ...process.env, NO_COLOR: "1", OTEL_SDK_DISABLED: "true", ...env },
    cwd,
    stdio: "pipe",
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("close", () => process.off("exit", kill));
  return child;
}

function collect(child: ChildProcessWithoutNullStreams): Promise<CliResult> {
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      resolve({ code: code ?? 128 + (constants.signals[signal ?? "SIGKILL"] ?? 0), stdout, stderr });
    });
  });
}
