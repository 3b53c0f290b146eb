import { Code, ConnectError } from "@connectrpc/connect";
import { ChannelCredentials, Client, connectivityState } from "@grpc/grpc-js";
import { isIP } from "node:net";
import type { Log } from "./log.ts";

export interface GrpcChannelOptions {
  /** Larger answers fail with RESOURCE_EXHAUSTED. Default 32 MiB. */
  maxReceiveBytes?: number;
  /** Told of what a stream's listener throws. Default: a warning of the process. */
  log?: Log;
}

export type ChannelState = "idle" | "connecting" | "ready" | "failing" | "closed";

/** One connection to a `host:port`, made at the first call and made again when it is lost. */
export class GrpcChannel implements AsyncDisposable {
  readonly target: string;
  readonly log: Log;
  readonly #client: Client;
  #closed = false;

  constructor(target: string, options: GrpcChannelOptions = {}) {
    this.target = target;
    this.log = options.log ?? processWarnings;
    this.#client = new Client(target, insecure(), {
      "grpc.max_receive_message_length": options.maxReceiveBytes ?? 32 * 1024 * 1024,
      "grpc.keepalive_time_ms": 10_000,
      "grpc.keepalive_timeout_ms": 5_000,
      "grpc.keepalive_permit_without_calls": 1,
      // A service that restarts is found again within two seconds, at its new address too.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 2_000,
      "grpc.dns_min_time_between_resolutions_ms": 2_000,
      // Asks no TXT records of the DNS.
      "grpc.service_config_disable_resolution": 1,
      // A channel is a connection: closing it closes no one else's.
      "grpc.use_local_subchannel_pool": 1,
      // With retries grpc-js reports up to 1 MiB a stream as sent that is not, which blinds the backpressure. Nor would it
      // retry more than calls that never left; callers know what else may be repeated.
      "grpc.enable_retries": 0,
      "grpc.enable_http_proxy": isLoopback(target) ? 0 : 1,
    });
  }

  /**
   * grpc-js's client, for this library alone.
   * @throws ConnectError UNAVAILABLE once the channel is closed
   */
  get raw(): Client {
    if (this.#closed) throw new ConnectError(`The channel to ${this.target} is closed.`, Code.Unavailable);
    return this.#client;
  }

  get state(): ChannelState {
    return this.#closed ? "closed" : stateNames[this.#client.getChannel().getConnectivityState(false)];
  }

  /** Calls still open fail with UNAVAILABLE or CANCELLED; later ones with UNAVAILABLE. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#client.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

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

/** A proxy set for the outside must not be asked for this machine's own services. */
function isLoopback(target: string): boolean {
  const host = target.slice(0, target.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
