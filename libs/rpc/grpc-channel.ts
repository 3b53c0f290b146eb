import { Code, ConnectError } from "@connectrpc/connect";
import { ChannelCredentials, Client, connectivityState } from "@grpc/grpc-js";
import type { Log } from "./log.ts";
import { isLoopback } from "./loopback.ts";

export interface GrpcChannelOptions {
  /** Larger answers fail with RESOURCE_EXHAUSTED. Default 32 MiB. */
  maxReceiveBytes?: number;
  /**
   * `per-call`: each call or stream goes to the next address of those that a name stands for, over a connection to each; for
   * what any replica can answer. `per-channel`: one of the addresses, at random, until it fails; for a process that needs one
   * connection only. Default `per-channel`.
   */
  balance?: "per-call" | "per-channel";
  /** Told of what a stream's listener throws. Default: a warning of the process. */
  log?: Log;
}

export type ChannelState = "idle" | "connecting" | "ready" | "failing" | "closed";

/**
 * Connections to a `host:port`, made at the first call and made again when they are lost. Of several targets, which must be
 * replicas of one service, each call takes the next that is not failing.
 */
export class GrpcChannel implements AsyncDisposable {
  readonly target: string;
  readonly log: Log;
  readonly #clients: readonly Client[];
  #turn = 0;
  #closed = false;

  constructor(targets: string | readonly string[], options: GrpcChannelOptions = {}) {
    const all = typeof targets === "string" ? [targets] : targets;
    if (all.length === 0) throw new TypeError("A channel needs at least one target.");
    this.target = all.join(",");
    this.log = options.log ?? processWarnings;
    this.#clients = all.map((target) => makeClient(target, options));
    // Processes that have the same list begin at different places of it.
    this.#turn = Math.floor(Math.random() * all.length);
  }

  /**
   * grpc-js's client, for this library alone: of several, the one whose turn it is.
   * @throws ConnectError UNAVAILABLE once the channel is closed
   */
  get raw(): Client {
    if (this.#closed) throw new ConnectError(`The channel to ${this.target} is closed.`, Code.Unavailable);
    for (let tried = 1; ; tried++) {
      const client = this.#clients[this.#turn++ % this.#clients.length]!;
      if (tried >= this.#clients.length || stateOf(client) !== "failing") return client;
    }
  }

  /** Of several targets, the best there is. */
  get state(): ChannelState {
    if (this.#closed) return "closed";
    const states = this.#clients.map(stateOf);
    return preference.find((state) => states.includes(state)) ?? "closed";
  }

  /** Calls still open fail with UNAVAILABLE or CANCELLED; later ones with UNAVAILABLE. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const client of this.#clients) client.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

const preference: readonly ChannelState[] = ["ready", "connecting", "idle", "failing"];

function stateOf(client: Client): ChannelState {
  return stateNames[client.getChannel().getConnectivityState(false)];
}

function makeClient(target: string, { maxReceiveBytes, balance }: GrpcChannelOptions): Client {
  return new Client(target, insecure(), {
    "grpc.max_receive_message_length": maxReceiveBytes ?? 32 * 1024 * 1024,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.keepalive_permit_without_calls": 1,
    // A service that restarts is found again within two seconds, at its new address too.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.dns_min_time_between_resolutions_ms": 2_000,
    "grpc.service_config": balance === "per-call" ? roundRobin : pickOne,
    // Asks no TXT records of the DNS.
    "grpc.service_config_disable_resolution": 1,
    // A channel is a connection: closing it closes no one else's.
    "grpc.use_local_subchannel_pool": 1,
    // With retries grpc-js reports up to 1 MiB a stream as sent that is not, which blinds the backpressure. Nor would it
    // retry more than calls that never left; callers know what else may be repeated.
    "grpc.enable_retries": 0,
    // A proxy set for the outside must not be asked for this machine's own services.
    "grpc.enable_http_proxy": isLoopback(target) ? 0 : 1,
  });
}

const roundRobin = JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] });
// A DNS server may name the addresses in the same order to all.
const pickOne = JSON.stringify({ loadBalancingConfig: [{ pick_first: { shuffleAddressList: true } }] });

const stateNames = {
  [connectivityState.IDLE]: "idle",
  [connectivityState.CONNECTING]: "connecting",
  [connectivityState.READY]: "ready",
  [connectivityState.TRANSIENT_FAILURE]: "failing",
  [connectivityState.SHUTDOWN]: "closed",
} as const satisfies Record<connectivityState, ChannelState>;

const processWarnings: Log = {
  warn: (message, fields) => process.emitWarning(`${message} ${JSON.stringify(fields)}`),
  error: (message, fields) => {
    const err: unknown = fields?.["err"];
    process.emitWarning(message, { detail: err instanceof Error ? (err.stack ?? err.message) : String(err) });
  },
};

/** The one place where a client's credentials are made. */
function insecure(): ChannelCredentials {
  return ChannelCredentials.createInsecure();
}
