import type { DescMessage, DescMethod, DescMethodBiDiStreaming, DescService } from "@bufbuild/protobuf";
import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { MethodImplSpec, ServiceImpl } from "@connectrpc/connect";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { createServer } from "node:net";
import { asIs, methodPath } from "./codec.ts";
import type { DuplexStream, StreamContext } from "./duplex-stream.ts";
import { legionError } from "./errors.ts";
import { registerHandler } from "./grpc-handler.ts";
import type { OpenCall } from "./grpc-handler.ts";
import { guardHandler, handlersOf, refuses } from "./handler.ts";
import type { HandlerOptions } from "./handler.ts";
import { PortTakenError } from "./port-taken.ts";
import { addReflection } from "./reflection.ts";
import { ServerStream, ServerStreamContext } from "./server-stream.ts";

// Time for the last statuses to go out; a connection that is still open then is cut.
const flushMs = 500;

export interface GrpcServerOptions extends HandlerOptions {
  host: string;
  /** 0 takes a free one. */
  port: number;
  /** Larger messages are refused with RESOURCE_EXHAUSTED. Default 32 MiB. */
  maxReceiveBytes?: number;
}

export type StreamHandler<I extends DescMessage, O extends DescMessage> = (
  stream: DuplexStream<MessageShape<I>, MessageInitShape<O>>,
  context: StreamContext,
) => void;

/** A gRPC server with health (grpc.health.v1) and reflection (v1 and v1alpha). Mount everything before `listen`. */
export class GrpcServer implements AsyncDisposable {
  readonly #options: GrpcServerOptions;
  readonly #server: Server;
  readonly #health = new HealthImplementation({ "": "NOT_SERVING" });
  readonly #serving = new Map<string, boolean>();
  readonly #services = new Set<DescService>();
  readonly #mounted = new Set<DescMethod>();
  readonly #open = new Set<OpenCall>();
  #shutdown: Promise<void> | undefined;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.#server = new Server({
      "grpc.max_receive_message_length": options.maxReceiveBytes ?? 32 * 1024 * 1024,
      // A peer that vanished without a word is noticed after 40 s; clients ping every 10 s and notice sooner.
      "grpc.keepalive_time_ms": 30_000,
      "grpc.keepalive_timeout_ms": 10_000,
    });
    this.#health.addToServer(this.#server);
  }

  /** Serves the methods given; those of the service that are neither given nor mounted as streams answer NOT_SUPPORTED. */
  mount<S extends DescService>(service: S, impl: Partial<ServiceImpl<S>>): this {
    for (const spec of handlersOf(service, impl)) this.#register(spec);
    this.#services.add(service);
    return this;
  }

  /** Serves one bidirectional method straight on grpc-js; its messages are not validated (see `validate`). */
  mountStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    handler: StreamHandler<I, O>,
  ): this {
    const { log } = this.#options;
    const handle = (call: ServerDuplexStream<Buffer, Buffer>) => {
      const stream = new ServerStream(call, method, this.#options);
      this.#open.add(stream);
      stream.onClose(() => this.#open.delete(stream));
      try {
        handler(stream, new ServerStreamContext(call));
      } catch (thrown) {
        log.error("a stream was not accepted", { err: thrown, service: method.parent.typeName, method: method.name });
        stream.fail(legionError("INTERNAL", `${method.name} failed inside the service; its log says why.`));
      }
    };
    this.#mounted.add(method);
    this.#server.register(methodPath(method), handle, asIs, asIs, "bidi");
    this.#services.add(method.parent);
    return this;
  }

  /** What health checks may ask for: each service mounted so far, and "" for the whole process. */
  get healthNames(): string[] {
    return ["", ...[...this.#services].map((service) => service.typeName)];
  }

  /** What health checks are told of a service; "" is the whole process. Before this is called: serving, from `listen` on. */
  setServing(service: string, serving: boolean): void {
    this.#serving.set(service, serving);
    this.#health.setStatus(service, serving ? "SERVING" : "NOT_SERVING");
  }

  /**
   * Starts to accept calls.
   * @returns the port
   * @throws PortTakenError
   */
  async listen(): Promise<number> {
    const { host, port } = this.#options;
    for (const service of this.#services) {
      for (const method of service.methods) {
        if (this.#mounted.has(method)) continue;
        const message = `${service.typeName}.${method.name} is not offered here.`;
        this.#register(refuses(method, "NOT_SUPPORTED", message));
      }
    }
    addReflection(
      this.#server,
      [...this.#services].map((service) => service.file),
    );
    await assertPortFree(host, port);
    const bound = await this.#bind(host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`);
    for (const name of this.healthNames) {
      if (!this.#serving.has(name)) this.setServing(name, true);
    }
    return bound;
  }

  /**
   * Health says NOT_SERVING, no new call is accepted, open calls have `graceMs` (default 10,000) to end, then they fail
   * with SHUTTING_DOWN. A second call waits for the first.
   */
  shutdown({ graceMs = 10_000 }: { graceMs?: number } = {}): Promise<void> {
    return (this.#shutdown ??= this.#stop(graceMs));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown({ graceMs: 0 });
  }

  async #stop(graceMs: number): Promise<void> {
    for (const service of this.#serving.keys()) this.#health.setStatus(service, "NOT_SERVING");
    const done = Promise.withResolvers<void>();
    this.#server.tryShutdown(() => done.resolve());
    const timer = setTimeout(() => this.#failOpenCalls(), graceMs);
    const cut = setTimeout(() => this.#server.forceShutdown(), graceMs + flushMs);
    await done.promise;
    clearTimeout(timer);
    clearTimeout(cut);
  }

  #failOpenCalls(): void {
    for (const call of this.#open) call.fail(legionError("SHUTTING_DOWN", "The service is shutting down."));
  }

  #register(spec: MethodImplSpec): void {
    this.#mounted.add(spec.method);
    registerHandler(this.#server, guardHandler(spec, this.#options), { log: this.#options.log, open: this.#open });
  }

  #bind(address: string): Promise<number> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(address, insecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error.message.includes("EADDRINUSE") ? new PortTakenError(host, port) : error);
      });
    });
  }
}

/** The one place where a server's credentials are made. */
function insecure(): ServerCredentials {
  return ServerCredentials.createInsecure();
}

/** grpc-js hides why it could not bind behind a line on stderr; asking first gives the plain answer. */
async function assertPortFree(host: string, port: number): Promise<void> {
  if (port === 0) return;
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once("error", (error: NodeJS.ErrnoException) => {
      reject(error.code === "EADDRINUSE" ? new PortTakenError(host, port) : error);
    });
    probe.listen({ host, port }, () => probe.close(() => resolve()));
  });
}
