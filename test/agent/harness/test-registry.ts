import { create, type MessageInitShape, type UnknownField } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  type AssignmentSchema,
  type AttemptOutcome,
  type CancelCause,
  type ConnectRequest,
  type ConnectResponse,
  ConnectRequestSchema,
  ConnectResponseSchema,
  type Hello,
  type Welcome,
} from "#libs/proto/legion/registry/v1/session_pb.ts";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import type { DuplexStream } from "#libs/rpc/duplex-stream.ts";
import { GrpcServer } from "#libs/rpc/grpc-server.ts";
import { validate } from "#libs/rpc/validate.ts";
import { createLogger } from "#libs/telemetry/logger.ts";

type Init<T> = Partial<Omit<T, "$typeName" | "$unknown">>;
export type WelcomeInit = Init<Welcome> & { heartbeatMs?: number; leaseMs?: number };
export type AssignmentInit = MessageInitShape<typeof AssignmentSchema>;

export interface TestRegistryOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** What each stream is welcomed with; default: with its defaults. */
  readonly onHello?: (stream: AgentStream) => void;
  /** Whether outcomes are acknowledged as they arrive. Default true. */
  readonly acknowledge?: boolean;
}

const log = createLogger({ service: "test-registry" });

/** A Registry that does what a test tells it, on a real gRPC server. By default it welcomes everybody. */
export class TestRegistry implements AsyncDisposable {
  readonly address: string;
  readonly port: number;
  /** All that have said hello, in their order. */
  readonly streams: AgentStream[];
  readonly #server: GrpcServer;
  readonly #changes: Changes;

  static async start(options: TestRegistryOptions = {}): Promise<TestRegistry> {
    const { port = 0, onHello = (stream) => stream.welcome(), acknowledge = true } = options;
    const changes = new Changes();
    const streams: AgentStream[] = [];
    const server = new GrpcServer({ host: "127.0.0.1", port, log });
    server.mountStream(RegistryService.method.connect, (stream) => {
      const agentStream = new AgentStream(stream, changes, (frame) => {
        if (frame.hello !== undefined) {
          streams.push(agentStream);
          onHello(agentStream);
        }
        if (acknowledge && frame.outcomes.length > 0) agentStream.acknowledge();
      });
    });
    return new TestRegistry(server, await server.listen(), streams, changes);
  }

  private constructor(server: GrpcServer, port: number, streams: AgentStream[], changes: Changes) {
    this.#server = server;
    this.port = port;
    this.address = `127.0.0.1:${port}`;
    this.streams = streams;
    this.#changes = changes;
  }

  /** The stream that said hello as the n-th, from 0. */
  stream(n: number): Promise<AgentStream> {
    return this.until(() => this.streams[n], `hello number ${n}`);
  }

  /** Asked again whenever a frame arrives or a stream closes. */
  until<T>(condition: () => T, what: string): Promise<NonNullable<T>> {
    return this.#changes.until(condition, what);
  }

  /** Cuts all connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const stream of this.streams) stream.break();
    await this.#server.shutdown({ graceMs: 100 });
  }
}

/** One agent's stream, as the Registry sees it. */
export class AgentStream {
  readonly frames: ConnectRequest[] = [];
  readonly outcomes: AttemptOutcome[] = [];
  /** Once the stream is over: how it ended, `null` in order. */
  closed: ConnectError | null | undefined;
  readonly #stream: DuplexStream<ConnectRequest, MessageInitShape<typeof ConnectResponseSchema>>;
  readonly #changes: Changes;
  #seq = 0n;
  #ended = false;

  constructor(
    stream: DuplexStream<ConnectRequest, MessageInitShape<typeof ConnectResponseSchema>>,
    changes: Changes,
    onFrame: (frame: ConnectRequest) => void,
  ) {
    this.#stream = stream;
    this.#changes = changes;
    stream.onMessage((frame) => {
      validate(ConnectRequestSchema, frame);
      this.frames.push(frame);
      this.outcomes.push(...frame.outcomes);
      onFrame(frame);
      changes.noted();
    });
    stream.onEnd(() => {
      this.#ended = true;
      stream.end();
    });
    stream.onClose((error) => {
      this.closed = this.#ended ? null : (error ?? null);
      changes.noted();
    });
  }

  get hello(): Hello {
    return this.frames[0]!.hello!;
  }

  get last(): ConnectRequest {
    return this.frames.at(-1)!;
  }

  /** The number of the last frame sent to the agent. */
  get seq(): bigint {
    return this.#seq;
  }

  /** @param unknown fields of the frame that no agent of today knows. */
  send(frame: Init<ConnectResponse>, unknown: UnknownField[] = []): void {
    const message = create(ConnectResponseSchema, { seq: ++this.#seq, ...frame });
    if (unknown.length > 0) message.$unknown = unknown;
    this.#stream.write(message);
  }

  welcome({ heartbeatMs = 3_000, leaseMs = 10_000, ...given }: WelcomeInit = {}): void {
    const welcome = {
      sessionId: "session-1",
      heartbeatInterval: durationFromMs(heartbeatMs),
      leaseDuration: durationFromMs(leaseMs),
      maxResultBytes: 2 * 1024 * 1024,
      resumed: this.hello.sessionId !== "",
      ...given,
    };
    this.#stream.write({ seq: ++this.#seq, welcome });
  }

  /** Each with `data` as its task data. */
  assign(...assignments: (Omit<AssignmentInit, "taskData"> & { data?: unknown })[]): void {
    this.#stream.write({
      seq: ++this.#seq,
      assignments: assignments.map(({ data = {}, ...assignment }) => ({
        attempt: 1,
        maxAttempts: 3,
        ...(assignment as object),
        taskData: { data: Buffer.from(JSON.stringify(data)) },
      })),
    });
  }

  cancel(taskId: string, cause: CancelCause, reason = ""): void {
    this.#stream.write({ seq: ++this.#seq, cancels: [{ taskId, attempt: 1, cause, reason }] });
  }

  /** Acknowledges everything received so far. */
  acknowledge(): void {
    this.send({ ack: this.last.seq });
  }

  drain(reason: string, reconnect: boolean): void {
    this.#stream.write({ seq: ++this.#seq, drain: { reason, reconnect } });
  }

  fail(error: ConnectError): void {
    this.#stream.fail(error);
  }

  break(): void {
    this.fail(new ConnectError("The test broke the stream.", Code.Unavailable));
  }

  /** The first outcome of the task on this stream. */
  outcome(taskId: string): Promise<AttemptOutcome> {
    return this.#changes.until(
      () => this.outcomes.find((outcome) => outcome.taskId === taskId),
      `outcome of ${taskId}`,
    );
  }

  until<T>(condition: (stream: this) => T, what: string): Promise<NonNullable<T>> {
    return this.#changes.until(() => condition(this), what);
  }
}

class Changes {
  readonly #watchers = new Set<() => void>();

  noted(): void {
    for (const watcher of this.#watchers) watcher();
  }

  until<T>(condition: () => T, what: string, limitMs = 10_000): Promise<NonNullable<T>> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const answer = condition();
        if (answer === undefined || answer === null || answer === false) return;
        clearTimeout(timer);
        this.#watchers.delete(look);
        resolve(answer);
      };
      const timer = setTimeout(() => {
        this.#watchers.delete(look);
        reject(new Error(`Waited in vain for ${what}.`));
      }, limitMs);
      this.#watchers.add(look);
      look();
    });
  }
}
