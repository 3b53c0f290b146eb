import type { MessageInitShape } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import type {
  Assignment,
  ConnectRequestSchema,
  ConnectResponse,
  HelloSchema,
  Welcome,
} from "#libs/proto/legion/registry/v1/session_pb.ts";
import { errorReason } from "#libs/rpc/errors.ts";
import { type ClientStream, GrpcChannel, openStream } from "#libs/rpc/grpc-client.ts";
import { Watched } from "./watched.ts";

type Frame = Omit<MessageInitShape<typeof ConnectRequestSchema>, "$typeName">;
type Hello = Omit<MessageInitShape<typeof HelloSchema>, "$typeName">;

/** An agent without any SDK: it says what the test says. */
export class TestAgent extends Watched implements Disposable {
  readonly frames: ConnectResponse[] = [];
  /** Whether frames sent carry the number of the last one received. */
  acknowledges = true;
  closed = false;
  error: ConnectError | undefined;
  readonly #channel: GrpcChannel;
  readonly stream: ClientStream<MessageInitShape<typeof ConnectRequestSchema>, ConnectResponse>;
  #seq = 0n;
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(port: number) {
    super();
    this.#channel = new GrpcChannel(`127.0.0.1:${port}`);
    this.stream = openStream(this.#channel, RegistryService.method.connect);
    this.stream.onMessage((frame) => {
      this.frames.push(frame);
      this.changed();
    });
    this.stream.onClose((error) => {
      this.closed = true;
      this.error = error;
      clearInterval(this.#heartbeat);
      this.changed();
    });
  }

  /** Says hello with one capability, `greet`, and heartbeats from then on. */
  static async connect(port: number, hello: Hello, { heartbeatMs = 100 } = {}): Promise<TestAgent> {
    const agent = new TestAgent(port);
    agent.hello(hello);
    await agent.welcome();
    agent.#heartbeat = setInterval(() => agent.send({ heartbeat: {} }), heartbeatMs);
    return agent;
  }

  hello(hello: Hello): void {
    this.send({ hello: { capabilities: [{ name: "greet" }], ...hello } });
  }

  send(frame: Frame): void {
    const ack = this.acknowledges ? (this.frames.at(-1)?.seq ?? 0n) : 0n;
    this.stream.write({ seq: ++this.#seq, ack, ...frame });
  }

  get lastSeq(): bigint {
    return this.#seq;
  }

  complete(...taskIds: string[]): void {
    const outcome = { kind: { case: "completed" as const, value: { result: { data: Buffer.from("{}") } } } };
    this.send({ outcomes: taskIds.map((taskId) => ({ taskId, attempt: 1, outcome })) });
  }

  stopHeartbeats(): void {
    clearInterval(this.#heartbeat);
  }

  async welcome(): Promise<Welcome> {
    return await this.until("welcome", () => {
      if (this.closed) throw this.error ?? new Error("the stream ended");
      return this.frames[0]?.welcome;
    });
  }

  get sessionId(): string {
    return this.frames[0]?.welcome?.sessionId ?? "";
  }

  get assignments(): Assignment[] {
    return this.frames.flatMap((frame) => frame.assignments);
  }

  async assigned(...taskIds: string[]): Promise<Assignment[]> {
    return await this.until(`assignments ${taskIds.join()}`, () => {
      const found = this.assignments.filter(({ taskId }) => taskIds.includes(taskId));
      return found.length === taskIds.length && found;
    });
  }

  /** The highest of our frames that is dealt with. */
  get acknowledged(): bigint {
    return this.frames.at(-1)?.ack ?? 0n;
  }

  async whenAcknowledged(seq: bigint): Promise<void> {
    await this.until(`frame ${seq} to be acknowledged`, () => this.acknowledged >= seq);
  }

  /** @returns the reason of the error the stream ended with; "" if in order */
  async end(): Promise<string> {
    await this.until("the end of the stream", () => this.closed);
    return this.error === undefined ? "" : (errorReason(this.error) ?? this.error.message);
  }

  /** Breaks the stream, as a lost connection does. */
  [Symbol.dispose](): void {
    clearInterval(this.#heartbeat);
    this.stream.fail(new ConnectError("the connection is lost"));
    this.#channel.close();
  }
}
