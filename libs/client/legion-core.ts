import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { CapabilityDeclaration, LegionAgent } from "#libs/agent/index.ts";
import { TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { meshAddresses, parseTargets } from "./addresses.ts";
import { startDispatchSpan } from "./dispatch-span.ts";
import { Endpoints } from "./endpoints.ts";
import type { LegionError } from "./errors.ts";
import type { JsonObject, JsonValue } from "./json.ts";
import { defaultMaxTaskDataBytes, encodeTaskData } from "./task-data.ts";
import { RegisteredAgent } from "./registered-agent.ts";
import type { AgentLike, RegisterOptions } from "./registered-agent.ts";
import { TaskHandle } from "./task-handle.ts";
import { taskResult } from "./task-result.ts";
import { taskSpec } from "./task-spec.ts";
import type { TaskOptions } from "./task-spec.ts";
import { TaskStream } from "./task-stream.ts";
import type { WaitOptions } from "./pending-task.ts";
import { meshHealth, meshMetrics } from "./mesh-view.ts";
import type { MeshHealth, MeshMetrics } from "./mesh-view.ts";
import { stateName, taskEventView, taskView } from "./task-view.ts";
import type { ProgressView, TaskEventView, TaskStateName, TaskView } from "./task-view.ts";
import { callDispatcher } from "./unary-call.ts";
import type { CallSettings } from "./unary-call.ts";
import { watchTask } from "./watch-task.ts";
import type { DispatcherClient } from "./endpoints.ts";

export interface LegionCoreOptions {
  /** `host:port`, several separated by commas. Default: LEGION_DISPATCHER, else port 7402 of this machine. */
  readonly dispatcher?: string;
  /** For `registerAgent`. Default: LEGION_REGISTRY, else port 7401 of this machine. */
  readonly registry?: string;
  /** The tenant, where a call names none. Default `default`. */
  readonly namespace?: string;
  /**
   * Tasks handed over by `dispatchTask` and not yet answered; further ones wait here. Raise it if many tasks wait long for
   * their agents. Default 1,000.
   */
  readonly maxOutstanding?: number;
  /** Larger task_data is refused before it leaves. Default 2 MiB, as the mesh's own. */
  readonly maxTaskDataBytes?: number;
  /** How long calls other than dispatches are tried again where nobody answers. Default 10 s. */
  readonly retryForMs?: number;
  /** The mesh is away or cannot take tasks for now; told at each try. Dispatches that wait go on waiting. */
  readonly onTrouble?: (error: LegionError) => void;
  /** It answers again. */
  readonly onRecovered?: () => void;
}

export interface DispatchOptions extends TaskOptions, WaitOptions {
  /** News from the agent. Costs a stream of its own for as long as the task is waited for. */
  readonly onProgress?: (progress: ProgressView) => void;
}

export interface ListTasksOptions {
  readonly namespace?: string | undefined;
  readonly states?: readonly TaskStateName[] | undefined;
  readonly capability?: string | undefined;
  readonly user?: string | undefined;
  readonly submittedAfter?: Date | undefined;
  readonly submittedBefore?: Date | undefined;
  /** Default 50; at most 1,000. */
  readonly pageSize?: number | undefined;
  /** From the page before. */
  readonly pageToken?: string | undefined;
}

// A Dispatcher that has not answered a small question by then is counted as away.
const callTimeoutMs = 10_000;

/** The mesh, for a program that gives it tasks. One is enough for a process. */
export class LegionCore implements AsyncDisposable {
  readonly #options: LegionCoreOptions;
  readonly #namespace: string;
  readonly #endpoints: Endpoints;
  readonly #stream: TaskStream;
  readonly #closing = new AbortController();
  readonly #agents: LegionAgent[] = [];

  /** Connects when it is first used. @throws ConfigError when an address cannot be understood */
  constructor(options: LegionCoreOptions = {}) {
    this.#options = options;
    this.#namespace = options.namespace ?? "";
    const { dispatcher } = options;
    this.#endpoints = new Endpoints(
      dispatcher === undefined ? meshAddresses().dispatcher : parseTargets("dispatcher", dispatcher),
    );
    this.#stream = new TaskStream({ ...options, endpoints: this.#endpoints });
  }

  /**
   * Starts an agent of this process under that id and with these capabilities. Resolves when the mesh has welcomed it, however
   * long that takes. `close` stops it.
   * @throws AgentError when the Registry refuses it
   */
  async registerAgent(
    agentId: string,
    agent: AgentLike,
    capabilities: readonly (string | CapabilityDeclaration)[],
    { signal, ...options }: RegisterOptions = {},
  ): Promise<LegionAgent> {
    const { registry, namespace } = this.#options;
    const agentOptions = { ...(registry && { registry }), ...(namespace && { namespace }), ...options };
    const registered = new RegisteredAgent(agentId, agent, capabilities, agentOptions);
    this.#agents.push(registered);
    await registered.start(signal && { signal });
    return registered;
  }

  /**
   * Gives the mesh a task and waits for its result, through restarts of the mesh. `taskId` is the idempotency key: the same
   * id with the same content is the same task; undefined or empty: one is made.
   * @throws LegionError when the task is refused; TaskFailedError, TaskCanceledError; WaitTimeoutError or the signal's reason, after
   *   which the task goes on if it had been handed over
   */
  async dispatchTask<Result extends JsonValue | Uint8Array = JsonObject>(
    taskId: string | undefined,
    taskData: object,
    requiredCapability: string,
    options: DispatchOptions = {},
  ): Promise<Result> {
    const spec = this.#spec(taskId, taskData, requiredCapability, options);
    const span = startDispatchSpan(spec);
    using stack = new DisposableStack();
    if (options.onProgress !== undefined) stack.use(this.#watchProgress(spec, options.onProgress));
    try {
      return taskResult<Result>(await this.#stream.run(spec, options));
    } catch (error) {
      span?.recordError(error);
      throw error;
    } finally {
      span?.end();
    }
  }

  /**
   * Gives the mesh a task. Resolves when it is stored; its result can be waited for with the handle.
   * @throws LegionError when the task is refused; WaitTimeoutError or the signal's reason if it was not known to be stored by then
   */
  async dispatchTaskAsync<Result extends JsonValue | Uint8Array = JsonObject>(
    taskId: string | undefined,
    taskData: object,
    requiredCapability: string,
    options: TaskOptions & WaitOptions = {},
  ): Promise<TaskHandle<Result>> {
    const spec = this.#spec(taskId, taskData, requiredCapability, options);
    const span = startDispatchSpan(spec);
    try {
      const { created } = await this.#stream.submit(spec, options);
      return new TaskHandle<Result>(spec, created, this.#stream, this);
    } catch (error) {
      span?.recordError(error);
      throw error;
    } finally {
      span?.end();
    }
  }

  /** Counters since the mesh was first started, and gauges. */
  async getMetrics(): Promise<MeshMetrics> {
    return meshMetrics(await this.#call((client, settings) => client.getMetrics({}, settings)));
  }

  /** How the mesh is. Asked once. @throws LegionError UNAVAILABLE when no Dispatcher answers */
  async healthCheck(): Promise<MeshHealth> {
    return meshHealth(await this.#call((client, settings) => client.getHealth({}, settings), 0));
  }

  /** @throws LegionError NOT_FOUND */
  async getTask(taskId: string, { namespace = this.#namespace }: { namespace?: string } = {}): Promise<TaskView> {
    const { task } = await this.#call((client, settings) => client.getTask({ namespace, taskId }, settings));
    if (task === undefined) throw new TypeError("The Dispatcher answered without a task.");
    return taskView(task);
  }

  /** A page of tasks, newest first, without their input and result. */
  async listTasks(options: ListTasksOptions = {}): Promise<{ tasks: TaskView[]; nextPageToken: string }> {
    const { states = [], capability = "", user = "", submittedAfter, submittedBefore, pageSize = 0 } = options;
    const request = {
      namespace: options.namespace ?? this.#namespace,
      states: states.map((name) => TaskState[name]),
      capability,
      user,
      ...(submittedAfter && { submittedAfter: timestampFromDate(submittedAfter) }),
      ...(submittedBefore && { submittedBefore: timestampFromDate(submittedBefore) }),
      pageSize,
      pageToken: options.pageToken ?? "",
    };
    const page = await this.#call((client, settings) => client.listTasks(request, settings));
    return { tasks: page.tasks.map(taskView), nextPageToken: page.nextPageToken };
  }

  /** Asks for a task to be stopped and returns its state then; see `TaskHandle.cancel`. @throws LegionError NOT_FOUND */
  async cancelTask(
    taskId: string,
    { namespace = this.#namespace, reason = "" }: { namespace?: string | undefined; reason?: string | undefined } = {},
  ): Promise<TaskStateName | "UNKNOWN"> {
    const request = { namespace, taskId, reason };
    const { state } = await this.#call((client, settings) => client.cancelTask(request, settings));
    return stateName(state);
  }

  /**
   * What happens to a task: first its state now, last its outcome. Goes on through restarts of the mesh; aborting the signal
   * ends it without an error.
   * @throws LegionError NOT_FOUND
   */
  async *watchTask(
    taskId: string,
    { namespace = this.#namespace, signal }: { namespace?: string; signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<TaskEventView, void> {
    const stop = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    const { onTrouble } = this.#options;
    for await (const event of watchTask(this.#endpoints, { namespace, taskId }, { signal: stop, onTrouble })) {
      yield taskEventView(event);
    }
  }

  /** Stops the agents, once they have finished what they hold, and ends the connection. Whoever waits is told so with CANCELLED; tasks go on. */
  async close(): Promise<void> {
    await Promise.all(this.#agents.splice(0).map((agent) => agent.stop()));
    this.#closing.abort();
    this.#stream.close();
    this.#endpoints.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #spec(taskId: string | undefined, taskData: object, capability: string, options: DispatchOptions) {
    const data = encodeTaskData(taskData, this.#options.maxTaskDataBytes ?? defaultMaxTaskDataBytes);
    const spec = taskSpec(taskId, capability, data, options);
    if (spec.namespace === "") spec.namespace = this.#namespace;
    return spec;
  }

  #watchProgress(
    task: { namespace: string; taskId: string },
    onProgress: (progress: ProgressView) => void,
  ): Disposable {
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, this.#closing.signal]);
    const watch = async (): Promise<void> => {
      for await (const event of watchTask(this.#endpoints, task, { signal, untilKnown: true })) {
        const { progress } = taskEventView(event);
        if (progress !== undefined) onProgress(progress);
      }
    };
    // Without news the outcome still comes; why the task itself is refused is told by the dispatch.
    watch().catch(() => {});
    return { [Symbol.dispose]: () => stop.abort() };
  }

  #call<T>(
    call: (client: DispatcherClient, settings: CallSettings) => Promise<T>,
    retryForMs = this.#options.retryForMs ?? 10_000,
  ): Promise<T> {
    return callDispatcher(
      this.#endpoints,
      { retryForMs, timeoutMs: callTimeoutMs, signal: this.#closing.signal },
      call,
    );
  }
}
