import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

const living = new Set<ChildProcess>();
// A test that fails leaves nothing behind.
process.on("exit", () => living.forEach((child) => child.kill("SIGKILL")));

/** A program that goes on until it is disposed: killed, for nothing of it is kept. */
export class Program implements AsyncDisposable {
  readonly name: string;
  readonly pid: number | undefined;
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  #errors = "";

  /** @param onText takes its standard output; else that is kept with its errors. */
  constructor(path: string, args: readonly string[], env: NodeJS.ProcessEnv, onText?: (text: string) => void) {
    this.name = path.split("/").at(-1)!;
    this.#child = spawn(path, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    this.pid = this.#child.pid;
    living.add(this.#child);
    this.#closed = once(this.#child, "close").finally(() => living.delete(this.#child));
    this.#closed.catch(() => {});
    const keep = (text: string): void => void (this.#errors = (this.#errors + text).slice(-10_000));
    this.#child.stdout?.setEncoding("utf8").on("data", onText ?? keep);
    this.#child.stderr?.setEncoding("utf8").on("data", keep);
  }

  /** The end of what it printed. */
  get output(): string {
    return this.#errors;
  }

  get hasEnded(): boolean {
    return this.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** @throws with what it printed when it has ended. */
  assertRunning(): void {
    const { exitCode, signalCode } = this.#child;
    if (this.hasEnded)
      throw new Error(`${this.name} ended (${exitCode ?? signalCode ?? "not started"}):\n${this.output}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#closed.catch(() => {});
  }
}
