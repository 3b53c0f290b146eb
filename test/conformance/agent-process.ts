import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { programEnvironment } from "./client-process.ts";
import type { Command } from "./language.ts";

/** A line of an agent's standard output. */
export type AgentEvent =
  | { readonly event: "connected"; readonly session_id: string; readonly resumed: boolean }
  | { readonly event: "begin"; readonly task_id: string; readonly attempt: number; readonly capability: string }
  | { readonly event: "end"; readonly task_id: string; readonly attempt: number; readonly how: string }
  | { readonly event: "draining" };

type EventOf<Name extends AgentEvent["event"]> = Extract<AgentEvent, { event: Name }>;

// However this process ends, they end with it.
const living = new Set<AgentProcess>();
process.once("exit", () => living.forEach((agent) => agent.signal("SIGKILL")));

/** An agent of some language in a process of its own, known by what it prints. */
export class AgentProcess implements AsyncDisposable {
  readonly agentId: string;
  readonly events: AgentEvent[] = [];
  /** Lines on its standard output that are no events: there must be none. */
  readonly strayLines: string[] = [];
  readonly errorLines: string[] = [];
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #watchers = new Set<() => void>();
  /** Resolves when it has ended and all it printed was read. */
  readonly #closed: Promise<void>;
  #exit: number | NodeJS.Signals | undefined;

  constructor(agentId: string, { file, args, env }: Command, variables: Readonly<Record<string, string>>) {
    this.agentId = agentId;
    const child = spawn(file, args, {
      env: { ...programEnvironment(), ...env, ...variables, AGENT_ID: agentId },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    createInterface(child.stdout).on("line", (line) => this.#read(line));
    createInterface(child.stderr).on("line", (line) => this.errorLines.push(line));
    living.add(this);
    this.#closed = once(child, "close").then(([code, signal]: (number | NodeJS.Signals | null)[]) => {
      living.delete(this);
      this.#exit = code ?? signal ?? "SIGKILL";
      this.#changed();
    });
  }

  /** Undefined while it runs. */
  get exit(): number | NodeJS.Signals | undefined {
    return this.#exit;
  }

  all<Name extends AgentEvent["event"]>(name: Name): EventOf<Name>[] {
    return this.events.filter((event): event is EventOf<Name> => event.event === name);
  }

  /** Resolves when there are so many such events, with them. */
  async until<Name extends AgentEvent["event"]>(name: Name, count: number, limitMs?: number): Promise<EventOf<Name>[]> {
    await this.when(() => this.all(name).length >= count, `event number ${count} called ${name}`, limitMs);
    return this.all(name);
  }

  /** Resolves when the task's handler has begun, or ended, for the n-th time. */
  async untilTask<Name extends "begin" | "end">(name: Name, taskId: string, nth = 1): Promise<EventOf<Name>> {
    const isOfTask = (event: EventOf<"begin" | "end">): boolean => event.task_id === taskId;
    const find = (): EventOf<Name> | undefined => this.all(name).filter(isOfTask)[nth - 1];
    await this.when(() => find() !== undefined, `the ${name} of ${taskId}, number ${nth}`);
    return find()!;
  }

  /** Resolves with its exit code, or the signal that killed it, when it has ended. */
  async untilExit(limitMs?: number): Promise<number | NodeJS.Signals | undefined> {
    await this.when(() => this.#exit !== undefined, "its end", limitMs);
    return this.#exit;
  }

  /** Asked again at each event; fails after `limitMs` or when the agent has ended. */
  when(condition: () => boolean, what: string, limitMs = 20_000): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        settle();
      };
      const fail = (why: string): void => {
        const message = `Waited for ${what}, but ${why}. The agent printed:\n${this.transcript()}`;
        finish(() => reject(new Error(message)));
      };
      const look = (): void => {
        if (condition()) finish(resolve);
        else if (this.#exit !== undefined) fail(`the agent has ended with ${this.#exit}`);
      };
      const timer = setTimeout(() => fail(`it did not come within ${limitMs / 1_000} s`), limitMs);
      this.#watchers.add(look);
      look();
    });
  }

  /** The most handlers that ran at a time. */
  get peak(): number {
    let [running, peak] = [0, 0];
    for (const { event } of this.events) {
      if (event === "begin") peak = Math.max(peak, ++running);
      else if (event === "end") running--;
    }
    return peak;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  transcript(): string {
    const events = this.events.slice(-40).map((event) => `  ${JSON.stringify(event)}`);
    const errors = this.errorLines.slice(-30).map((line) => `  stderr: ${line.slice(0, 1_000)}`);
    return [...events, ...errors].join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#closed;
  }

  #read(line: string): void {
    try {
      this.events.push(JSON.parse(line) as AgentEvent);
    } catch {
      this.strayLines.push(line);
    }
    this.#changed();
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }
}
