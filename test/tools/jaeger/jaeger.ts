import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { goTools } from "../go-tools.ts";
import { makePages } from "./pages.ts";

export interface JaegerPorts {
  readonly otlpGrpc: number;
  readonly otlpHttp: number;
  /** Its API and its pages. */
  readonly query: number;
}

const config = join(import.meta.dirname, "config.yaml");
// What it holds is in memory and gone anyway.
const stopPatienceMs = 5_000;

/** A Jaeger in a process of its own, on 127.0.0.1, that keeps its traces in memory. */
export class Jaeger implements AsyncDisposable {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT with the protocol `http/protobuf`. */
  readonly otlpHttp: string;
  /** The same with the protocol `grpc`. */
  readonly otlpGrpc: string;
  /** Its API and its pages. */
  readonly url: string;
  /** Resolves when it has ended. */
  readonly exited: Promise<void>;
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];

  private constructor(program: string, ports: JaegerPorts, pages: string, onLine: (line: string) => void) {
    this.otlpHttp = `http://127.0.0.1:${ports.otlpHttp}`;
    this.otlpGrpc = `http://127.0.0.1:${ports.otlpGrpc}`;
    this.url = `http://127.0.0.1:${ports.query}`;
    this.#process = spawn(program, ["--config", config], {
      env: {
        ...process.env,
        JAEGER_OTLP_GRPC_PORT: String(ports.otlpGrpc),
        JAEGER_OTLP_HTTP_PORT: String(ports.otlpHttp),
        JAEGER_QUERY_PORT: String(ports.query),
        JAEGER_PAGES: pages,
      },
      stdio: ["ignore", "ignore", "pipe"],
    });
    createInterface(this.#process.stderr!).on("line", (line) => {
      this.#lines.push(line);
      if (this.#lines.length > 20) this.#lines.shift();
      onLine(line);
    });
    const kill = (): void => void this.#process.kill("SIGKILL");
    process.once("exit", kill);
    this.exited = once(this.#process, "close").then(() => void process.off("exit", kill));
  }

  /**
   * Builds it if need be, and starts it; resolves when it takes spans.
   * @param onBuild called before it is built.
   * @throws with what it wrote if it ends instead.
   */
  static async start(ports: JaegerPorts, onBuild?: () => void): Promise<Jaeger> {
    const program = join(await goTools("jaeger", { ...(onBuild && { onBuild }) }), "jaeger");
    const { promise: ready, resolve } = Promise.withResolvers<void>();
    const jaeger = new Jaeger(program, ports, await makePages(), (line) => {
      if (line.includes("Everything is ready.")) resolve();
    });
    const ended = jaeger.exited.then(() => {
      throw new Error(`Jaeger ended at its start:\n${jaeger.lastLines}`);
    });
    ended.catch(() => {});
    await Promise.race([ready, ended]);
    return jaeger;
  }

  /** The end of its log. */
  get lastLines(): string {
    return this.#lines.join("\n");
  }

  /** SIGTERM, and SIGKILL if that takes longer than 5 s; resolves when it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGTERM");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), stopPatienceMs);
    await this.exited;
    clearTimeout(timer);
  }
}
