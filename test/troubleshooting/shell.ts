import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { repositoryRoot } from "../harness/run-program.ts";
import { waitFor, type WaitOptions } from "../harness/wait-for.ts";

/** A command, or another source of text such as a log, and what it printed. */
export interface Printed {
  /** `$ legion health` or `# the Dispatcher's log`. */
  readonly head: string;
  readonly text: string;
}

/** A terminal of somebody who has trouble: runs commands for real, and keeps what they print, in order. */
export class Shell implements AsyncDisposable {
  /** For every command from now on, beside this process's own. */
  readonly env: NodeJS.ProcessEnv = {};
  readonly #folder = mkdtempSync(join(tmpdir(), "legion-shell-"));
  readonly #kept: { head: string; read: () => string }[] = [];
  readonly #aliases: [real: string, shown: string][] = [];
  readonly #running = new Set<Running>();
  readonly #live: boolean;

  /** @param live whether everything is shown on standard output as well. */
  constructor({ live = false }: { live?: boolean } = {}) {
    this.#live = live;
    // The `legion` of the checkout and the Node that it brings along, by their names.
    const legion = join(this.#folder, "legion");
    writeFileSync(legion, `#!/bin/sh\nexec "${process.execPath}" "${repositoryRoot}/libs/cli/bin.js" "$@"\n`);
    chmodSync(legion, 0o755);
    symlinkSync(process.execPath, join(this.#folder, "node"));
  }

  /** What was printed, with the ports, names and paths of this machine replaced by those that the page shows. */
  get printed(): Printed[] {
    return this.#kept.map(({ head, read }) => ({ head: this.#shown(head), text: this.#shown(read()) }));
  }

  /** On the page `real` is written as `shown`. */
  alias(real: string | number, shown: string | number): void {
    this.#aliases.push([String(real), String(shown)]);
    // `23,401` shall not lose its end to the alias of `401`.
    this.#aliases.sort(([one], [other]) => other.length - one.length);
  }

  /** Runs a command to its end, and returns what it printed, with `(exit code N)` if that is not 0. */
  async run(command: string): Promise<string> {
    const running = this.start(command);
    await running.ended;
    return running.text;
  }

  /** Runs a command again and again until it prints what is wanted; only that is kept. */
  async until(command: string, wanted: RegExp, options: Partial<WaitOptions> = {}): Promise<string> {
    let last = "";
    await waitFor(
      async () => {
        const running = this.#spawn(command);
        await running.ended;
        last = running.text;
        return wanted.test(last);
      },
      { timeoutMs: 30_000, describe: () => `${wanted} of ${command}, which printed\n${last}`, ...options },
    );
    this.keep(`$ ${command}`, last);
    return last;
  }

  /** Starts a command that does not end by itself. It is killed with the shell, if not before. */
  start(command: string): Running {
    const running = this.#spawn(command);
    this.#kept.push({ head: `$ ${command}`, read: () => running.text });
    if (this.#live) {
      process.stdout.write(`\n$ ${command}\n`);
      running.onText = (text) => process.stdout.write(text);
    }
    return running;
  }

  /** Keeps text that no command of this shell printed. */
  keep(head: string, text: string): void {
    this.#kept.push({ head, read: () => text });
    if (this.#live) process.stdout.write(`\n${head}\n${text}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running].map((running) => running.stop("SIGKILL")));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #spawn(command: string): Running {
    const path = `${this.#folder}${delimiter}${process.env["PATH"] ?? ""}`;
    const running = new Running(command, { ...process.env, NO_COLOR: "1", ...this.env, PATH: path });
    this.#running.add(running);
    void running.ended.then(() => this.#running.delete(running));
    return running;
  }

  #shown(text: string): string {
    return this.#aliases.reduce((before, [real, shown]) => before.replaceAll(real, shown), text);
  }
}

/** A command that runs. */
export class Running {
  /** What it printed, on either stream. */
  text = "";
  onText: (text: string) => void = () => {};
  /** Resolves with the exit code. */
  readonly ended: Promise<number>;
  #signaled = false;
  readonly #command: string;
  readonly #child: ChildProcess;

  constructor(command: string, env: NodeJS.ProcessEnv) {
    this.#command = command;
    const child = spawn("/bin/sh", ["-c", command], {
      cwd: repositoryRoot,
      // What Legion's own processes take as a reason to leave: the end of their standard input, however it came.
      env: { ...env, LEGION_SUPERVISED: "1" },
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => this.#add(text));
    }
    this.ended = new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => {
        const status = code ?? 128 + (constants.signals[signal ?? "SIGKILL"] ?? 0);
        if (status !== 0 && !this.#signaled) this.#add(`(exit code ${status})\n`);
        resolve(status);
      });
    });
  }

  /** Waits until it has printed this. */
  async prints(wanted: RegExp, timeoutMs = 30_000): Promise<this> {
    await waitFor(() => wanted.test(this.text), {
      timeoutMs,
      describe: () => `${wanted} of ${this.#command}, which printed\n${this.text}`,
    });
    return this;
  }

  /** Sends a signal to the command and what it started, by default that of Ctrl-C, and waits for the end. */
  async stop(signal: NodeJS.Signals = "SIGINT"): Promise<number> {
    this.signal(signal);
    return await this.ended;
  }

  signal(signal: NodeJS.Signals): void {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    this.#signaled = true;
    try {
      process.kill(-pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  #add(text: string): void {
    this.text += text;
    this.onText(text);
  }
}
