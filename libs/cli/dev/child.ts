import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { packageRoot } from "./package-root.ts";

export interface ChildSpec {
  readonly name: string;
  /** What Node runs, and its arguments. */
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export type OutputStream = "stdout" | "stderr";

// A service's start compiles 1,000 files: with the cache it takes 0.56 s of CPU time instead of 0.74 s.
const compileCache = join(packageRoot, "node_modules", ".cache", "legion");

const living = new Set<Child>();
// Reached also by an exit nobody planned, such as an uncaught exception; then there is no time for manners.
process.on("exit", () => living.forEach((child) => child.kill()));

/**
 * A Node process of ours in a process group of its own, so that Ctrl-C in the terminal does not reach it, and with a pipe
 * to its standard input, whose end tells it that we are gone, however we went.
 */
export class Child {
  readonly name: string;
  /** Resolves when the process has ended and its last line was delivered. */
  readonly exited: Promise<ChildExit>;
  readonly #process: ChildProcess;

  constructor({ name, args, env }: ChildSpec, onLine: (line: string, stream: OutputStream) => void) {
    this.name = name;
    this.#process = spawn(process.execPath, args, {
      env: { NODE_COMPILE_CACHE: compileCache, ...env, LEGION_SUPERVISED: "1" },
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    living.add(this);
    // The process may end before us; that is told by `exited`.
    this.#process.stdin!.on("error", () => {});
    const { stdout, stderr } = this.#process;
    createInterface({ input: stdout! }).on("line", (line) => onLine(line, "stdout"));
    createInterface({ input: stderr! }).on("line", (line) => onLine(line, "stderr"));
    this.exited = new Promise((resolve) => {
      this.#process.once("error", (error) => {
        living.delete(this);
        onLine(error.message, "stderr");
        resolve({ code: null, signal: null });
      });
      this.#process.once("exit", () => {
        // Whatever it started and left behind goes too, and lets go of the pipes.
        this.kill();
        living.delete(this);
      });
      this.#process.once("close", (code, signal) => resolve({ code, signal }));
    });
  }

  /** Undefined if the process could not be started. */
  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Whether it has ended. */
  get isOver(): boolean {
    return !living.has(this);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** SIGKILL to the process and everything that it started. */
  kill(): void {
    if (this.pid === undefined) return;
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  /** SIGTERM, and SIGKILL to what is left after `patienceMs`. */
  async stop(patienceMs: number): Promise<ChildExit> {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.kill(), patienceMs);
    const exit = await this.exited;
    clearTimeout(timer);
    return exit;
  }
}

/** `exit code 1` or `SIGKILL`. */
export function describeExit({ code, signal }: ChildExit): string {
  return signal ?? (code === null ? "no exit code" : `exit code ${code}`);
}
