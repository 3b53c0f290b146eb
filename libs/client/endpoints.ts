import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { DispatcherService } from "#libs/proto/legion/dispatcher/v1/dispatcher_service_pb.ts";

export type DispatcherClient = ReturnType<typeof createClient<typeof DispatcherService>>;

/** The Dispatchers a client may use: it stays with one until that fails, then goes on to the next. */
export class Endpoints implements AsyncDisposable {
  readonly targets: readonly string[];
  readonly #channels = new Map<string, GrpcChannel>();
  readonly #clients = new Map<GrpcChannel, DispatcherClient>();
  #index = 0;

  constructor(targets: readonly string[]) {
    if (targets.length === 0) throw new TypeError("At least one Dispatcher's address is needed.");
    this.targets = targets;
    // Clients of the same list spread over it.
    this.#index = Math.floor(Math.random() * targets.length);
  }

  get target(): string {
    return this.targets[this.#index % this.targets.length] ?? "";
  }

  get channel(): GrpcChannel {
    const { target } = this;
    let channel = this.#channels.get(target);
    if (channel === undefined) this.#channels.set(target, (channel = new GrpcChannel(target, { balance: "per-call" })));
    return channel;
  }

  get client(): DispatcherClient {
    const { channel } = this;
    let client = this.#clients.get(channel);
    if (client === undefined) this.#clients.set(channel, (client = createClient(DispatcherService, channel)));
    return client;
  }

  /** The channel failed: later calls go to the next address. Told by several of its users, it moves once. */
  failed(channel: GrpcChannel): void {
    if (channel === this.#channels.get(this.target)) this.#index++;
  }

  close(): void {
    for (const channel of this.#channels.values()) channel.close();
  }

  // eslint-disable-next-line typescript/require-await -- AsyncDisposable, as everything that holds a connection
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}
