import { fileURLToPath } from "node:url";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import { migrate } from "#libs/db/migrate.ts";
import { OutcomeSchema, type Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import {
  DispatcherService,
  type StreamOutcome,
  type SubmitItemSchema,
  type SubmitResult,
} from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";
import { TaskState, type TaskSpecSchema } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { createClient, GrpcChannel, openStream } from "#libs/rpc/grpc-client.ts";
import { RateLimitService } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { readConfig } from "../../services/dispatcher/config.ts";
import { startDispatcher } from "../../services/dispatcher/service.ts";
import { readConfig as readRateLimitConfig } from "../../services/ratelimit/config.ts";
import { startRateLimit } from "../../services/ratelimit/service.ts";
import { migrateRateLimit } from "../ratelimit/store.ts";
import { freePorts } from "../harness/free-ports.ts";
import { MeshProcess } from "../harness/mesh-process.ts";
import { testDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";
import { FakeRegistry } from "./fake-registry.ts";
import { Inbox } from "./inbox.ts";

// Of the services that run in this process.
process.env["LOG_LEVEL"] ??= "error";

export type Spec = MessageInitShape<typeof TaskSpecSchema>;

const migrations = fileURLToPath(new URL("../../services/dispatcher/sql/migrations/", import.meta.url));

export async function migrateDispatcher(connectionString: string): Promise<void> {
  await migrate(connectionString, { schema: "dispatcher", directory: migrations });
}

/** A RateLimit service in this process, which can be stopped and started again on its port. */
export class RunningRateLimit implements AsyncDisposable {
  readonly client: Client<typeof RateLimitService>;
  readonly #config: ReturnType<typeof readRateLimitConfig>;
  readonly #channel: GrpcChannel;
  #service: AsyncDisposable | undefined;

  constructor(databaseUrl: string, grpcPort: number) {
    this.#config = readRateLimitConfig({
      DATABASE_URL: databaseUrl,
      POOL_SIZE: "4",
      BIND_HOST: "127.0.0.1",
      GRPC_PORT: String(grpcPort),
      HTTP_PORT: "0",
      LOG_LEVEL: "error",
    });
    this.#channel = new GrpcChannel(`127.0.0.1:${grpcPort}`);
    this.client = createClient(RateLimitService, this.#channel);
  }

  get address(): string {
    return this.#channel.target;
  }

  async start(): Promise<void> {
    this.#service = await startRateLimit(this.#config);
  }

  async stop(): Promise<void> {
    await this.#service?.[Symbol.asyncDispose]();
    this.#service = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#channel.close();
    await this.stop();
  }
}

export interface RunningDispatcher {
  readonly client: Client<typeof DispatcherService>;
  readonly channel: GrpcChannel;
  /** host:port of its gRPC. */
  readonly address: string;
  readonly httpUrl: string;
}

/** A database, a real RateLimit service, and any number of Dispatchers and fake Registries upon them; disposed of together. */
export class World implements AsyncDisposable {
  readonly databaseUrl: string;
  readonly rateLimit: RunningRateLimit;
  readonly #env: Record<string, string>;
  readonly #stack: AsyncDisposableStack;

  constructor(
    databaseUrl: string,
    rateLimit: RunningRateLimit,
    env: Record<string, string>,
    stack: AsyncDisposableStack,
  ) {
    this.databaseUrl = databaseUrl;
    this.rateLimit = rateLimit;
    this.#env = env;
    this.#stack = stack;
  }

  /** A Dispatcher in this process; `stop` ends it in order. */
  async dispatcher(env: Record<string, string> = {}): Promise<RunningDispatcher & { stop(): Promise<void> }> {
    const config = readConfig({ ...this.#env, GRPC_PORT: "0", HTTP_PORT: "0", ...env });
    const host = this.#stack.use(await startDispatcher(config));
    const running = this.#connect(`127.0.0.1:${host.grpcPort}`, `http://127.0.0.1:${host.httpPort}`);
    await waitFor(async () => (await fetch(`${running.httpUrl}/readyz`)).ok, {
      describe: "the Dispatcher to be ready",
    });
    return { ...running, stop: () => host[Symbol.asyncDispose]() };
  }

  /** A Dispatcher in a process of its own, to be killed. */
  async dispatcherProcess(env: Record<string, string> = {}): Promise<RunningDispatcher & { process: MeshProcess }> {
    const [grpcPort = 0, httpPort = 0] = await freePorts(2);
    const main = fileURLToPath(new URL("../../services/dispatcher/main.ts", import.meta.url));
    const ports = { GRPC_PORT: String(grpcPort), HTTP_PORT: String(httpPort) };
    const process_ = new MeshProcess({
      name: "dispatcher",
      main,
      grpcPort,
      httpPort,
      env: { ...process.env, ...this.#env, ...env, ...ports },
    });
    this.#stack.defer(() => process_.kill("SIGKILL"));
    await process_.start();
    return { ...this.#connect(process_.address, process_.httpAddress), process: process_ };
  }

  async registry({ address }: RunningDispatcher): Promise<FakeRegistry> {
    return this.#stack.use(await FakeRegistry.connect(address));
  }

  #connect(address: string, httpUrl: string): RunningDispatcher {
    const channel = this.#stack.use(new GrpcChannel(address));
    return { client: createClient(DispatcherService, channel), channel, address, httpUrl };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** @param options.databaseUrl default: a database of its own. */
export async function createWorld(
  options: { databaseUrl?: string; env?: Record<string, string> } = {},
): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const databaseUrl = options.databaseUrl ?? stack.use(await testDatabase()).connectionString;
  await migrateDispatcher(databaseUrl);
  await migrateRateLimit(databaseUrl);
  const [port = 0] = await freePorts(1);
  const rateLimit = stack.use(new RunningRateLimit(databaseUrl, port));
  await rateLimit.start();
  const env = {
    DATABASE_URL: databaseUrl,
    POOL_SIZE: "6",
    BIND_HOST: "127.0.0.1",
    LOG_LEVEL: "error",
    LEGION_RATELIMIT: rateLimit.address,
    // Nobody listens there; executions go unjudged.
    LEGION_WATCHDOG: "127.0.0.1:9",
    ...options.env,
  };
  return new World(databaseUrl, rateLimit, env, stack.move());
}

export const json = (value: unknown) => ({ data: Buffer.from(JSON.stringify(value)) });

export function completed(result: unknown = {}): Outcome {
  return create(OutcomeSchema, { kind: { case: "completed", value: { result: json(result) } } });
}

export function failed(
  failure: { code?: string; message?: string; retryable?: boolean; retryDelayMs?: number } = {},
): Outcome {
  const { code = "BROKEN", message = "it broke", retryable = true, retryDelayMs } = failure;
  const value = { code, message, retryable };
  if (retryDelayMs === undefined) return create(OutcomeSchema, { kind: { case: "failed", value } });
  const retryDelay = { seconds: BigInt(Math.floor(retryDelayMs / 1_000)), nanos: (retryDelayMs % 1_000) * 1_000_000 };
  return create(OutcomeSchema, { kind: { case: "failed", value: { ...value, retryDelay } } });
}

export function canceled(reason = "stopped"): Outcome {
  return create(OutcomeSchema, { kind: { case: "canceled", value: { reason } } });
}

/** The result that an outcome carries, parsed; or the failure's code. */
export function resultOf(outcome: Outcome | undefined): unknown {
  const kind = outcome?.kind;
  if (kind?.case === "completed") return JSON.parse(Buffer.from(kind.value.result?.data ?? []).toString());
  return kind?.case === "failed" ? kind.value.code : kind?.case;
}

/** Waits until a task is in a state, as `GetTask` tells it. */
export async function whenState(client: Client<typeof DispatcherService>, taskId: string, state: TaskState) {
  let seen = TaskState.UNSPECIFIED as TaskState;
  return await waitFor(
    async () => {
      const { task } = await client.getTask({ taskId });
      seen = task?.state ?? TaskState.UNSPECIFIED;
      return seen === state && task;
    },
    { describe: () => `task ${taskId} to be in state ${state}; it is in ${seen}` },
  );
}

/** `DispatcherService.SubmitStream`, with what comes back sorted by kind. */
export class SubmitStream {
  readonly results = new Inbox<SubmitResult>("a receipt");
  readonly outcomes = new Inbox<StreamOutcome>("an outcome");
  readonly closed: Promise<Error | undefined>;
  readonly #stream;

  constructor({ channel }: RunningDispatcher) {
    this.#stream = openStream(channel, DispatcherService.method.submitStream);
    this.closed = new Promise((resolve) => this.#stream.onClose(resolve));
    this.#stream.onMessage(({ results, outcomes }) => {
      for (const result of results) this.results.put(result);
      for (const outcome of outcomes) this.outcomes.put(outcome);
    });
  }

  send(
    tasks: MessageInitShape<typeof SubmitItemSchema>[],
    options: { omitReceipts?: boolean; omitOutcomes?: boolean } = {},
  ): void {
    this.#stream.write({ tasks, ...options });
  }

  end(): void {
    this.#stream.end();
  }
}
