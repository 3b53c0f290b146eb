import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { anyPack, timestampNow } from "@bufbuild/protobuf/wkt";
import type { ConnectError } from "@connectrpc/connect";
import { OutcomeSchema } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import type { Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import {
  DispatcherService,
  SubmitResultSchema,
  SubmitTaskResponseSchema,
} from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import type {
  GetHealthResponseSchema,
  StreamOutcomeSchema,
  SubmitItem,
  SubmitResult,
  SubmitStreamRequest,
  SubmitStreamResponseSchema,
} from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { TaskEventSchema, TaskSchema, TaskState } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Task, TaskEvent, TaskProgress, TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { FrameBuffer } from "#libs/rpc/frames.ts";
import { GrpcServer } from "#libs/rpc/grpc-server.ts";
import type { DuplexStream } from "#libs/rpc/duplex-stream.ts";
import { StatusSchema } from "#libs/proto/google/rpc/status_pb.ts";
import { freePorts } from "../harness/free-ports.ts";
import { completed } from "./payloads.ts";

type Response = MessageInitShape<typeof SubmitStreamResponseSchema>;
type Stream = DuplexStream<SubmitStreamRequest, Response>;

/** What becomes of a task: an outcome, or nothing until `finish` says so. */
export type Play = (spec: TaskSpec) => Outcome | undefined | Promise<Outcome | undefined>;

export interface StubOptions {
  readonly play?: Play;
  /** Refuses a task at the door. */
  readonly refuse?: (spec: TaskSpec) => ConnectError | undefined;
}

const log = { warn: console.error, error: console.error };

/** A Dispatcher without a mesh behind it: what clients see of one, on a real port. Its tasks outlive its restarts. */
export class StubDispatcher implements AsyncDisposable {
  play: Play;
  refuse: (spec: TaskSpec) => ConnectError | undefined;
  readonly port: number;
  readonly tasks = new Map<string, Task>();
  /** The id of each task of each frame that came in, and how its frame was marked. */
  readonly received: { readonly taskId: string; readonly omitReceipts: boolean; readonly omitOutcomes: boolean }[] = [];
  /** How many items each frame had. */
  readonly frameSizes: number[] = [];
  health: MessageInitShape<typeof GetHealthResponseSchema> = {
    status: "healthy",
    agents: 2n,
    database: "connected",
    uptime: 90.5,
  };
  readonly #watchers = new Map<string, Set<(event: TaskEvent) => void>>();
  readonly #streams = new Set<Stream>();
  #server: GrpcServer | undefined;

  static async start(options: StubOptions = {}): Promise<StubDispatcher> {
    const [port = 0] = await freePorts(1);
    const stub = new StubDispatcher(port, options);
    await stub.up();
    return stub;
  }

  private constructor(port: number, { play = () => completed({}), refuse = () => undefined }: StubOptions) {
    this.port = port;
    this.play = play;
    this.refuse = refuse;
  }

  get target(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** For a process that is to find it. */
  get env(): NodeJS.ProcessEnv {
    return { LEGION_DISPATCHER: this.target };
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  /** Streams and watchers that wait for the task's outcome. */
  watchersOf(taskId: string): number {
    return this.#watchers.get(taskId)?.size ?? 0;
  }

  async up(): Promise<void> {
    const server = new GrpcServer({ host: "127.0.0.1", port: this.port, log });
    server.mountStream(DispatcherService.method.submitStream, (stream) => this.#onStream(stream));
    server.mount(DispatcherService, {
      submitTask: ({ task }) => this.#admit(orThrow(task)),
      submitTasks: ({ tasks }) => ({ results: tasks.map((task) => this.#result(task, 0n)) }),
      getTask: ({ taskId }) => ({ task: this.#known(taskId) }),
      listTasks: ({ states, pageSize }) => {
        const all = [...this.tasks.values()]
          .toReversed()
          .filter(({ state }) => states.length === 0 || states.includes(state));
        const page = pageSize || 50;
        return { tasks: all.slice(0, page), nextPageToken: all.length > page ? "more" : "" };
      },
      cancelTask: ({ taskId, reason }) => {
        const task = this.#known(taskId);
        if (task.outcome === undefined) {
          this.finish(taskId, create(OutcomeSchema, { kind: { case: "canceled", value: { reason } } }));
        }
        return { state: task.state };
      },
      watchTask: ({ taskId }, { signal }) => this.#watch(taskId, signal),
      getMetrics: () => ({
        totalAgents: 3n,
        activeAgents: 2n,
        tasksSubmitted: BigInt(this.tasks.size),
        tasksFailed: 1n,
      }),
      getHealth: () => this.health,
    });
    await server.listen();
    this.#server = server;
  }

  /** As if the process were killed. */
  async down(): Promise<void> {
    await this.#server?.shutdown({ graceMs: 0 });
    this.#server = undefined;
  }

  finish(taskId: string, outcome: Outcome): void {
    const task = this.#known(taskId);
    task.outcome = outcome;
    task.state = finalStates[outcome.kind.case ?? "failed"];
    task.finishTime = timestampNow();
    this.#tell(task, { outcome });
  }

  lease(taskId: string, agentId: string): void {
    const task = this.#known(taskId);
    Object.assign(task, { state: TaskState.LEASED, agentId, attempt: task.attempt + 1, startTime: timestampNow() });
    this.#tell(task, {});
  }

  progress(taskId: string, progress: MessageInitShape<typeof TaskEventSchema>["progress"]): void {
    this.#tell(this.#known(taskId), { progress: progress as TaskProgress });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  #onStream(stream: Stream): void {
    this.#streams.add(stream);
    const results = new FrameBuffer<SubmitResult>({
      sizeOf: () => 64,
      write: (items) => stream.write({ results: items }),
    });
    const outcomes = new FrameBuffer<MessageInitShape<typeof StreamOutcomeSchema>>({
      sizeOf: () => 256,
      write: (items) => stream.write({ outcomes: items }),
    });
    stream.onDrain(() => {
      results.drained();
      outcomes.drained();
    });
    stream.onMessage(({ tasks, omitReceipts, omitOutcomes }) => {
      this.frameSizes.push(tasks.length);
      for (const item of tasks) {
        const result = this.#receive(item, omitReceipts, omitOutcomes);
        const refused = result.kind.case === "error";
        if (refused || !omitReceipts) results.push(result);
        if (refused || omitOutcomes) continue;
        const { ref } = item;
        owed++;
        this.#onOutcome(item.task?.taskId ?? "", ({ taskId, state, attempt, outcome }) => {
          owed--;
          if (outcome !== undefined) outcomes.push({ ref, taskId, state, attempt, outcome });
          endWhenEven();
        });
      }
    });
    // As the contract has it: when the client has ended its side, after the last outcome.
    let owed = 0;
    let clientEnded = false;
    const endWhenEven = (): void => {
      if (clientEnded && owed === 0) setImmediate(() => stream.end());
    };
    stream.onEnd(() => {
      clientEnded = true;
      endWhenEven();
    });
    stream.onClose(() => this.#streams.delete(stream));
  }

  #receive({ ref, task }: SubmitItem, omitReceipts: boolean, omitOutcomes: boolean): SubmitResult {
    this.received.push({ taskId: task?.taskId ?? "", omitReceipts, omitOutcomes });
    return this.#result(orThrow(task), ref);
  }

  #result(spec: TaskSpec, ref: bigint): SubmitResult {
    try {
      return create(SubmitResultSchema, { ref, kind: { case: "accepted", value: this.#admit(spec) } });
    } catch (thrown) {
      const { code, rawMessage, details } = thrown as ConnectError;
      const status = create(StatusSchema, {
        code,
        message: rawMessage,
        details: details.flatMap((detail) =>
          "desc" in detail ? anyPack(detail.desc, create(detail.desc, detail.value)) : [],
        ),
      });
      return create(SubmitResultSchema, { ref, kind: { case: "error", value: status } });
    }
  }

  #admit(spec: TaskSpec) {
    const refusal = this.refuse(spec);
    if (refusal !== undefined) throw refusal;
    const before = this.tasks.get(spec.taskId);
    const { taskId, capability, taskData, namespace, user, priority, labels, traceparent } = spec;
    const task =
      before ??
      create(TaskSchema, {
        ...{ taskId, capability, taskData, namespace: namespace || "default", user, priority, labels, traceparent },
        state: TaskState.QUEUED,
        maxAttempts: spec.retryPolicy?.maxAttempts || 3,
        waitingReason: `no agent offers '${capability}' yet`,
        submitTime: timestampNow(),
      });
    if (before === undefined) {
      this.tasks.set(taskId, task);
      void Promise.resolve(this.play(spec)).then((outcome) => outcome && this.finish(taskId, outcome));
    }
    return create(SubmitTaskResponseSchema, { taskId, state: task.state, created: before === undefined });
  }

  #known(taskId: string): Task {
    const task = this.tasks.get(taskId);
    if (task === undefined) throw legionError("TASK_NOT_FOUND", `There is no task ${taskId}.`);
    return task;
  }

  #onOutcome(taskId: string, tell: (task: Task) => void): void {
    const task = this.#known(taskId);
    if (task.outcome !== undefined) tell(task);
    else this.#listen(taskId, (event) => event.outcome && tell(task));
  }

  #listen(taskId: string, listener: (event: TaskEvent) => void): () => void {
    const listeners = this.#watchers.get(taskId) ?? new Set();
    this.#watchers.set(taskId, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  #tell(task: Task, more: Partial<Pick<TaskEvent, "outcome" | "progress">>): void {
    const event = eventOf(task, more);
    for (const listener of this.#watchers.get(task.taskId) ?? []) listener(event);
    if (event.outcome !== undefined) this.#watchers.delete(task.taskId);
  }

  async *#watch(taskId: string, signal: AbortSignal) {
    const task = this.#known(taskId);
    const events: TaskEvent[] = [eventOf(task, task.outcome && { outcome: task.outcome })];
    let wake = Promise.withResolvers<void>();
    const stop = this.#listen(taskId, (event) => {
      events.push(event);
      wake.resolve();
    });
    signal.addEventListener("abort", () => wake.resolve());
    let over = false;
    while (!signal.aborted && !over) {
      for (let event = events.shift(); event !== undefined; event = events.shift()) {
        yield { event };
        over ||= event.outcome !== undefined;
      }
      if (!over) await wake.promise;
      wake = Promise.withResolvers<void>();
    }
    stop();
  }
}

const finalStates = { completed: TaskState.COMPLETED, failed: TaskState.FAILED, canceled: TaskState.CANCELED } as const;

function eventOf(task: Task, more: Partial<Pick<TaskEvent, "outcome" | "progress">> = {}): TaskEvent {
  const { state, attempt, agentId } = task;
  const waitingReason = state === TaskState.QUEUED ? task.waitingReason : "";
  return create(TaskEventSchema, { time: timestampNow(), state, attempt, agentId, waitingReason, ...more });
}

function orThrow(task: TaskSpec | undefined): TaskSpec {
  if (task === undefined) throw legionError("INVALID_REQUEST", "task: value is required");
  return task;
}
