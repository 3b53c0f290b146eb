import { Child, type ChildExit } from "#libs/cli/dev/child.ts";
import { whenReady } from "#libs/cli/dev/when-ready.ts";

export interface MeshProcessOptions {
  readonly name: string;
  readonly main: string;
  readonly env: NodeJS.ProcessEnv;
  /** 0: it has no port. */
  readonly grpcPort: number;
  readonly httpPort: number;
}

const keptLines = 5_000;

/** One process of a mesh under test. It is not restarted by itself: the test says what dies and what comes back. */
export class MeshProcess {
  readonly name: string;
  /** host:port of its gRPC. */
  readonly address: string;
  readonly httpPort: number;
  /** `http://host:port` of its HTTP. */
  readonly httpAddress: string;
  /** What it printed, over all its runs; the last 5,000 lines. */
  readonly lines: string[] = [];
  readonly #options: MeshProcessOptions;
  #child: Child | undefined;

  constructor(options: MeshProcessOptions) {
    this.name = options.name;
    this.address = `127.0.0.1:${options.grpcPort}`;
    this.httpPort = options.httpPort;
    this.httpAddress = `http://127.0.0.1:${options.httpPort}`;
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** Its log, parsed; lines that are no records are left out. */
  get records(): Record<string, unknown>[] {
    return this.lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Starts it; resolves when it is ready. @throws with the end of what it printed when it ends before. */
  async start(): Promise<void> {
    this.spawn();
    await this.whenReady();
  }

  /** Starts it without waiting. */
  spawn(): void {
    if (this.#child !== undefined) throw new Error(`${this.name} runs already.`);
    const { name, main, env } = this.#options;
    const child = new Child({ name, args: [main], env }, (line) => {
      this.lines.push(line);
      if (this.lines.length > keptLines) this.lines.shift();
    });
    this.#child = child;
    void child.exited.then(() => {
      if (this.#child === child) this.#child = undefined;
    });
  }

  async whenReady(): Promise<void> {
    const child = this.#child;
    if (child === undefined) throw new Error(`${this.name} does not run.`);
    if (this.httpPort === 0) return;
    const over = new AbortController();
    void child.exited.then((exit) => {
      over.abort(exit);
    });
    try {
      await whenReady(this.httpPort, over.signal);
    } catch {
      const exit = JSON.stringify(over.signal.reason);
      throw new Error(`${this.name} ended at its start, ${exit}:\n${this.lines.slice(-20).join("\n")}`);
    }
  }

  /** Sends the signal. Of one that ends a process (default SIGKILL) the end is waited for. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#child?.signal(signal);
    if (signal !== "SIGSTOP" && signal !== "SIGCONT") await this.#child?.exited;
  }

  /** SIGTERM, and SIGKILL if it takes longer than 10 s. */
  async stop(): Promise<ChildExit | undefined> {
    return await this.#child?.stop(10_000);
  }

  /** Stops it, if it runs, and starts it on the same ports. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }
}
