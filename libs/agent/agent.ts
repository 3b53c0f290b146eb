import { create } from "@bufbuild/protobuf";
import { HelloSchema } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { createLogger, type Logger } from "#libs/telemetry/logger.ts";
import { type CapabilityDeclaration, inputCheck, toCapability } from "./capability.ts";
import type { TaskData } from "./json.ts";
import { type AgentOptions, defaultAgentId, registryTargets } from "./options.ts";
import { Runner } from "./runner.ts";
import { Session } from "./session.ts";
import type { AgentState, AgentStatus } from "./status.ts";
import type { TaskContext } from "./task-context.ts";
import { TaskError } from "./task-error.ts";

export interface StartOptions {
  /** Aborting it before the agent is welcomed gives up. */
  readonly signal?: AbortSignal;
}

export interface StopOptions {
  /**
   * How long to wait for what runs, in milliseconds. Then it is asked to stop, and given `cancelGraceMs` for that. Default
   * 20,000, which with the default grace stays within the 30 s that Kubernetes gives.
   */
  readonly timeoutMs?: number;
}

const defaultGraceMs = 5_000;
// What an outcome may take to be acknowledged once everything is answered.
const lastWordsMs = 2_000;

/**
 * A program that does tasks. Subclass it, say what it can do in `capabilities`, and implement `execute` or `executeAsync`;
 * or see `defineAgent` for the short way. It runs once: started, stopped, done.
 */
export abstract class LegionAgent implements AsyncDisposable {
  readonly name: string;
  readonly version: string;
  readonly namespace: string;
  readonly agentId: string;
  readonly slots: number;
  /** What the agent can do: names, or declarations with slots and an input schema. Read when it starts. */
  readonly capabilities: readonly (string | CapabilityDeclaration)[];
  /** Writes one JSON object a line, unless the options say otherwise. */
  protected readonly log: Logger;
  readonly #options: AgentOptions;
  #runner: Runner | undefined;
  #session: Session | undefined;
  #state: AgentState = "starting";
  #since = new Date();
  #empty: (() => void) | undefined;
  #draining: Promise<void> | undefined;
  #neverStarted = false;

  constructor(options: AgentOptions = {}) {
    this.#options = options;
    this.name = options.name ?? (new.target.name || "agent");
    this.version = options.version ?? "0";
    this.namespace = options.namespace ?? "default";
    this.agentId = options.agentId ?? defaultAgentId(this.name);
    this.slots = options.slots ?? 16;
    this.capabilities = options.capabilities ?? [];
    this.log = options.log ?? createLogger({ service: this.name });
  }

  /**
   * Does a task. What it returns, or the promise it returns resolves to, is the result: any JSON value; `undefined` becomes
   * `null`. What it throws becomes a failure that is tried again, unless it is a TaskError that says otherwise.
   */
  execute(_taskData: TaskData, context: TaskContext): unknown {
    const message = `${this.name} has no implementation of ${context.capability}.`;
    throw new TaskError(message, { code: "NOT_IMPLEMENTED", retryable: false });
  }

  /** The same for what is asynchronous by nature; where a subclass has both, the mesh's tasks come here. */
  async executeAsync(taskData: TaskData, context: TaskContext): Promise<unknown> {
    return await this.execute(taskData, context);
  }

  /**
   * Connects, and keeps the agent connected until it is stopped. Resolves when the mesh has welcomed it, however long that
   * takes: while no Registry can be reached it tries on, and says so in the log.
   * @throws AgentError when the Registry refuses the agent for a mistake that another try would not mend, or when the agent
   * was stopped before it was welcomed.
   * @throws TypeError when an address or a schema cannot be used.
   */
  async start({ signal }: StartOptions = {}): Promise<void> {
    if (this.#session !== undefined || this.#neverStarted) throw new Error("An agent is started only once.");
    signal?.throwIfAborted();
    const session = this.#begin();
    const giveUp = (): void => session.end();
    signal?.addEventListener("abort", giveUp, { once: true });
    try {
      await session.begun;
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  /** Takes nothing new, finishes what runs within a limit, and ends the session. Never rejects; does nothing twice. */
  async stop({ timeoutMs = 20_000 }: StopOptions = {}): Promise<void> {
    const runner = this.#runner;
    if (this.#session === undefined || runner === undefined) {
      this.#neverStarted = true;
      this.#become("stopped");
      return;
    }
    let limit = setTimeout(() => {
      runner.cancelAll();
      const graceMs = runner.inFlight === 0 ? 0 : (this.#options.cancelGraceMs ?? defaultGraceMs);
      limit = setTimeout(() => this.#empty?.(), graceMs + lastWordsMs);
    }, timeoutMs);
    await this.#drain("The agent stops.");
    clearTimeout(limit);
  }

  /**
   * Settles when the agent is done: resolves when it was stopped or drained, rejects with the AgentError that ended it, such
   * as `SESSION_FENCED` when another process uses its agent id. Undefined before `start`.
   */
  get stopped(): Promise<void> | undefined {
    return this.#session?.over;
  }

  getStatus(): AgentStatus {
    return {
      state: this.#state,
      since: this.#since,
      namespace: this.namespace,
      agentId: this.agentId,
      name: this.name,
      version: this.version,
      sessionId: this.#session?.sessionId ?? "",
      slots: this.slots,
      inFlight: this.#runner?.inFlight ?? 0,
      unacknowledged: this.#runner?.outbox.size ?? 0,
      ...(this.#runner?.counts ?? { completed: 0, failed: 0, canceled: 0 }),
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #begin(): Session {
    const { registry, labels = {}, cancelGraceMs = defaultGraceMs } = this.#options;
    const targets = registryTargets(registry);
    const capabilities = this.capabilities.map((given) => (typeof given === "string" ? { name: given } : given));
    const hello = create(HelloSchema, {
      namespace: this.namespace,
      agentId: this.agentId,
      name: this.name,
      version: this.version,
      capabilities: capabilities.map(toCapability),
      slots: this.slots,
      labels: Object.entries(labels).map(([key, value]) => ({ key, value })),
      resumable: true,
      sdk: `legion-typescript node/${process.versions.node}`,
    });
    const log = this.log.child({ agent_id: this.agentId });
    const overridden = this.executeAsync !== LegionAgent.prototype.executeAsync;
    const runner = new Runner({
      identity: this,
      capabilities: new Map(capabilities.map(({ name, input }) => [name, inputCheck(input)])),
      // Directly where nothing is asynchronous: a promise less for every task.
      handler: overridden
        ? (data, context) => this.executeAsync(data, context)
        : (data, context) => this.execute(data, context),
      cancelGraceMs,
      log,
      onOutcome: () => session.flushSoon(),
      onEmpty: () => this.#empty?.(),
      onProgress: (progress) => session.report(progress),
    });
    const session: Session = new Session({
      targets,
      hello,
      runner,
      log,
      onConnected: (connected) => this.#callHook(() => this.#options.onConnected?.(connected)),
      onChange: () => this.#noteState(),
      onDrain: (reason) => void this.#drain(reason),
    });
    this.#runner = runner;
    this.#session = session;
    return session;
  }

  /** Once for all who ask. */
  #drain(reason: string): Promise<void> {
    this.#draining ??= this.#finishAll(reason);
    this.#noteState();
    return this.#draining;
  }

  async #finishAll(reason: string): Promise<void> {
    const [session, runner] = [this.#session!, this.#runner!];
    session.drain(reason);
    this.#callHook(() => this.#options.onDraining?.(reason));
    if (runner.held.size > 0) await new Promise<void>((resolve) => (this.#empty = resolve));
    session.end();
    await session.over.catch(() => {});
  }

  /** What the user's own function throws must not end the session that it was told of. */
  #callHook(hook: () => void): void {
    try {
      hook();
    } catch (err) {
      this.log.error("onConnected or onDraining has thrown", { err });
    }
  }

  #noteState(): void {
    const state = this.#session?.state ?? "starting";
    if (state === "stopped") this.#runner?.[Symbol.dispose]();
    this.#become(this.#draining !== undefined && state !== "stopped" ? "draining" : state);
  }

  #become(state: AgentState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#since = new Date();
  }
}
