import { Code, ConnectError } from "@connectrpc/connect";
import type {
  AttemptProgress,
  ConnectRequest,
  ConnectResponse,
  Heartbeat,
  Hello,
  Welcome,
} from "#libs/proto/legion/registry/v1/session_pb.ts";
import { RegistryService } from "#libs/proto/legion/registry/v1/registry_service_pb.ts";
import { openStream } from "#libs/rpc/client-stream.ts";
import type { ClientStream } from "#libs/rpc/duplex-stream.ts";
import { GrpcChannel } from "#libs/rpc/grpc-channel.ts";
import type { Log } from "#libs/rpc/log.ts";
import type { Outbox } from "./outbox.ts";
import { ProgressQueue } from "./progress-queue.ts";

export interface ConnectionEvents {
  /** The first frame; called before its other contents are given to `onFrame`. */
  onWelcome(connection: Connection, welcome: Welcome): void;
  onFrame(connection: Connection, frame: ConnectResponse): void;
  /** Once, and the last of all. */
  onClose(connection: Connection, error: ConnectError | undefined): void;
}

export interface Pulse {
  readonly heartbeatMs: number;
  /** A peer that is silent for longer is given up. */
  readonly leaseMs: number;
}

// An address that swallows everything gives no other sign.
const helloLimitMs = 10_000;
const endLimitMs = 2_000;

const heartbeat: Heartbeat = { $typeName: "legion.registry.v1.Heartbeat" };

/** One stream to one Registry, on a connection of its own: numbers and acknowledges frames, beats, writes what waits. */
export class Connection {
  readonly target: string;
  readonly #events: ConnectionEvents;
  readonly #channel: GrpcChannel;
  readonly #stream: ClientStream<ConnectRequest, ConnectResponse>;
  readonly #progress = new ProgressQueue();
  #helloTimer: NodeJS.Timeout | undefined;
  #heartbeatTimer: NodeJS.Timeout | undefined;
  #outbox: Outbox | undefined;
  #welcomed = false;
  #sentSeq = 0;
  #receivedSeq = 0n;
  #acknowledgedSeq = 0n;
  #silentBeats = 0;
  #drainReason: string | undefined;
  #blocked = false;
  #flushing: NodeJS.Immediate | undefined;
  #acknowledging = false;
  #deferred: ConnectResponse[] | undefined;

  constructor(target: string, hello: Hello, events: ConnectionEvents, log: Log) {
    this.target = target;
    this.#events = events;
    this.#channel = new GrpcChannel(target, { log });
    this.#stream = openStream(this.#channel, RegistryService.method.connect);
    this.#stream.onMessage((frame) => this.#receive(frame));
    this.#stream.onDrain(() => {
      this.#blocked = false;
      this.#flush();
    });
    this.#stream.onClose((error) => this.#closed(error));
    this.#helloTimer = setTimeout(() => {
      this.abort(`${target} did not answer within ${helloLimitMs / 1_000} s.`);
    }, helloLimitMs);
    this.#write({ hello });
  }

  /** From now on the session is on this connection: heartbeats begin, what is in the outbox is sent. */
  carry(outbox: Outbox, { heartbeatMs, leaseMs }: Pulse): void {
    this.#outbox = outbox;
    // "At least every interval": a timer is never early and often late.
    const everyMs = heartbeatMs * 0.9;
    this.#heartbeatTimer = setInterval(() => {
      // Counted in beats, not by a clock: a blocked event loop hears nothing either, and must not blame the peer.
      if (++this.#silentBeats * everyMs > leaseMs + everyMs) {
        this.abort(`Nothing was heard from ${this.target} for ${leaseMs / 1_000} s.`);
      } else {
        this.#write({ heartbeat });
      }
    }, everyMs);
    this.#flush();
  }

  /** Frames that arrive are put aside, and nothing is sent, until `undefer`: the session may go on elsewhere. */
  defer(): void {
    this.#deferred ??= [];
  }

  undefer(): void {
    const frames = this.#deferred ?? [];
    this.#deferred = undefined;
    for (const frame of frames) this.#receive(frame);
    this.#flush();
  }

  /** Whatever came into the outbox in this turn of the event loop is sent at its end, in as few frames as it fits in. */
  flushSoon(): void {
    this.#flushing ??= setImmediate(() => {
      this.#flushing = undefined;
      this.#flush();
    });
  }

  report(progress: AttemptProgress): void {
    this.#progress.add(progress);
    this.flushSoon();
  }

  drain(reason: string): void {
    this.#drainReason = reason;
    this.#flush();
  }

  /** Says that no more is sent, and waits for the Registry to end the stream, for 2 s. */
  end(): void {
    this.#flush();
    this.#stopTimers();
    this.#outbox = undefined;
    this.#stream.end();
    this.#helloTimer = setTimeout(() => this.abort("The Registry did not end the stream."), endLimitMs).unref();
  }

  abort(message: string): void {
    this.#stream.fail(new ConnectError(message, Code.Unavailable));
  }

  #receive(frame: ConnectResponse): void {
    this.#silentBeats = 0;
    if (this.#deferred !== undefined) {
      this.#deferred.push(frame);
      return;
    }
    this.#receivedSeq = frame.seq;
    if (!this.#welcomed) {
      if (frame.welcome === undefined) {
        this.abort(`${this.target} sent a frame before its welcome.`);
        return;
      }
      this.#welcomed = true;
      clearTimeout(this.#helloTimer);
      this.#events.onWelcome(this, frame.welcome);
    }
    this.#events.onFrame(this, frame);
    this.#acknowledgeSoon();
  }

  /**
   * Earlier than `flushSoon`: the acknowledgement is handed to the socket before the handlers of these assignments start,
   * so that a task which kills the process counts as received and uses up its attempts.
   */
  #acknowledgeSoon(): void {
    if (this.#acknowledging) return;
    this.#acknowledging = true;
    process.nextTick(() => {
      this.#acknowledging = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (!this.#blocked && this.#deferred === undefined && this.#outbox !== undefined) {
      const outcomes = this.#outbox.take(this.#sentSeq + 1);
      const progress = this.#progress.take();
      const drainReason = this.#drainReason;
      this.#drainReason = undefined;
      const acknowledged = this.#acknowledgedSeq === this.#receivedSeq;
      if (outcomes.length === 0 && progress.length === 0 && drainReason === undefined && acknowledged) return;
      this.#write({
        outcomes,
        progress,
        drain:
          drainReason === undefined
            ? undefined
            : { $typeName: "legion.registry.v1.Drain", reason: drainReason, reconnect: false },
      });
    }
  }

  #write(contents: Partial<ConnectRequest>): void {
    this.#acknowledgedSeq = this.#receivedSeq;
    const taken = this.#stream.write({
      $typeName: "legion.registry.v1.ConnectRequest",
      seq: BigInt(++this.#sentSeq),
      ack: this.#receivedSeq,
      hello: contents.hello,
      heartbeat: contents.heartbeat,
      outcomes: contents.outcomes ?? [],
      progress: contents.progress ?? [],
      drain: contents.drain,
      setSlots: undefined,
    });
    if (!taken) this.#blocked = true;
  }

  #closed(error: ConnectError | undefined): void {
    this.#stopTimers();
    clearTimeout(this.#helloTimer);
    this.#outbox = undefined;
    this.#channel.close();
    this.#events.onClose(this, error);
  }

  #stopTimers(): void {
    clearInterval(this.#heartbeatTimer);
    clearImmediate(this.#flushing);
  }
}
