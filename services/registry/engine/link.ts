import { ConnectError } from "@connectrpc/connect";
import type { Clock } from "#libs/clock/clock.ts";
import {
  type LinkRequestSchema,
  type LinkResponse,
  LinkService,
  type SessionDown,
} from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { type ClientStream, GrpcChannel, openStream } from "#libs/rpc/grpc-client.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Answer } from "../core/answers.ts";
import type { Ref } from "../core/attempts.ts";
import type { AttemptProgress } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { AgentTotals } from "../sql/list-agents.ts";
import { type LinkFrame, LinkFrames } from "./link-frames.ts";
import type { LiveSession } from "./live-session.ts";

export interface LinkListener {
  /** The Dispatcher has welcomed this Registry. */
  linkUp(link: Link): void;
  /** The stream is over. What it was home to has no home now. Not called for a Link that was never up. */
  linkDown(link: Link, homeless: LiveSession[]): void;
  /** The Dispatcher is going away. */
  linkClosing(link: Link): void;
  /** What came down for a session in one frame. */
  deliver(live: LiveSession, down: SessionDown): void;
  /** Attempts that the session holds, as was said, but that are not leased to it. */
  lost(live: LiveSession, refs: Ref[]): void;
  /** Outcomes of the session are dealt with. */
  settled(live: LiveSession): void;
  /** A whole frame has been handed out. */
  frameDone(): void;
  /** The Dispatcher takes data again, after `full`. */
  linkDrained(link: Link): void;
}

export interface LinkOptions {
  /** `host:port`, the host an IP address. */
  readonly address: string;
  readonly registryId: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly listener: LinkListener;
  /** Whether a Link to this Dispatcher is wanted: two names may stand for one. */
  readonly accept: (dispatcherId: string) => boolean;
}

// A Dispatcher that takes the connection but does not answer is as good as away.
const welcomeTimeoutMs = 5_000;

/** One stream to one Dispatcher, from its opening to its end. */
export class Link {
  readonly address: string;
  /** Known once it is up. */
  dispatcherId = "";
  isUp = false;
  closing = false;
  /** More is written than the stream takes: read no more from agents. */
  full = false;
  /** Resolves when the stream is over; never rejects. */
  readonly over: Promise<ConnectError | undefined>;
  readonly #options: LinkOptions;
  readonly #channel: GrpcChannel;
  readonly #stream: ClientStream<MessageInitShape<typeof LinkRequestSchema>, LinkResponse>;
  readonly #frames = new LinkFrames((frame) => this.#write(frame));
  readonly #byNumber = new Map<number, LiveSession>();
  readonly #changed = new Set<LiveSession>();
  #lastNumber = 0;
  #seq = 0;
  #sent: { readonly seq: number; readonly frame: LinkFrame }[] = [];
  #scheduled = false;
  #counts: AgentTotals | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.address = options.address;
    this.#channel = new GrpcChannel(options.address, { log: options.log });
    this.#stream = openStream(this.#channel, LinkService.method.link);
    const timeout = options.clock.setTimer(() => {
      this.#stream.fail(legionError("INTERNAL", `The Dispatcher at ${options.address} did not answer hello.`));
    }, welcomeTimeoutMs);
    this.over = new Promise((resolve) => {
      this.#stream.onClose((error) => {
        timeout[Symbol.dispose]();
        this.#channel.close();
        this.#ended();
        resolve(error);
      });
    });
    this.#stream.onMessage((frame) => {
      if (this.isUp) this.#receive(frame);
      else {
        timeout[Symbol.dispose]();
        this.#welcomed(frame);
      }
    });
    this.#stream.onDrain(() => {
      this.full = false;
      this.#flush();
      if (!this.full) options.listener.linkDrained(this);
    });
    this.#stream.write({ seq: BigInt(++this.#seq), hello: { registryId: options.registryId } });
  }

  /** Sessions whose home it is. */
  get sessions(): number {
    return this.#byNumber.size;
  }

  lives(): LiveSession[] {
    return [...this.#byNumber.values()];
  }

  /** Something was sent that the Dispatcher has not dealt with. */
  get busy(): boolean {
    return this.#scheduled || this.#sent.length > 0;
  }

  /**
   * Makes the Dispatcher the session's home, or tells it anew what the session holds. Every attach has a number of its own, so
   * that whatever the Dispatcher sent before it has seen this one is told apart, and dropped: what it assigned, and is not
   * named in the attach, it takes back.
   */
  attach(live: LiveSession): void {
    // A number from another Link may be somebody else's on this one.
    if (live.link === this) this.#byNumber.delete(live.number);
    live.link = this;
    live.number = ++this.#lastNumber;
    this.#byNumber.set(live.number, live);
    this.#changed.delete(live);
    this.#frames.attach(live);
    this.#schedule();
  }

  /** Its slots or its weight have changed. */
  update(live: LiveSession): void {
    this.#changed.add(live);
    this.#schedule();
  }

  up(live: LiveSession, answer: Answer | undefined, progress: AttemptProgress[]): void {
    this.#frames.up(live, answer, progress);
    this.#schedule();
  }

  /** A session of this home is over. It stays here until the Dispatcher has dealt with that. */
  end(live: LiveSession): void {
    this.#changed.delete(live);
    const { number } = live;
    this.#frames.end(number, live.session.id, live.endReason, live.received ?? [], () => {
      this.#byNumber.delete(number);
    });
    this.#schedule();
  }

  /** A session of no home, or of another, is over. */
  endById(sessionId: string, reason: string, received: Ref[] | undefined, then: () => void): void {
    this.#frames.end(0, sessionId, reason, received, then);
    this.#schedule();
  }

  /** The session goes on elsewhere: the Dispatcher should give it nothing more, and what it still gives is not delivered. */
  release(live: LiveSession): void {
    this.drop(live);
    this.#frames.release(live.number);
    this.#schedule();
  }

  /** Nothing more is said of it here, nor delivered. */
  drop(live: LiveSession): void {
    this.#byNumber.delete(live.number);
    this.#changed.delete(live);
  }

  tellCounts(counts: AgentTotals): void {
    this.#counts = counts;
    this.#schedule();
  }

  /** Ends the stream in order: what was sent is still read by the Dispatcher. */
  finish(): void {
    this.#flush();
    this.#stream.end();
  }

  /** Cuts the stream. */
  cut(): void {
    this.#stream.fail(new ConnectError("The Link is not needed."));
  }

  /** One flush at the end of the tick, whatever came in it. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    if (!this.#stream.writable) return;
    for (const live of this.#changed) this.#frames.update(live);
    this.#changed.clear();
    this.#frames.flush();
    if (this.#counts !== undefined) {
      const { total, active } = this.#counts;
      this.#counts = undefined;
      this.#stream.write({
        seq: BigInt(++this.#seq),
        agentCounts: { total: BigInt(total), active: BigInt(active) },
      });
    }
  }

  #write(frame: LinkFrame): void {
    const seq = ++this.#seq;
    for (const { answer } of frame.answers) answer.linkSeq = seq;
    if (frame.answers.length > 0 || frame.told.length > 0) this.#sent.push({ seq, frame });
    const { attaches, updates, sessions, ends } = frame;
    if (!this.#stream.write({ seq: BigInt(seq), attaches, updates, sessions, ends })) this.full = true;
  }

  #welcomed({ welcome }: LinkResponse): void {
    if (welcome === undefined) {
      this.#stream.fail(legionError("PROTOCOL_VIOLATION", "The first frame of the Dispatcher carries no welcome."));
      return;
    }
    if (!this.#options.accept(welcome.dispatcherId)) {
      this.cut();
      return;
    }
    this.dispatcherId = welcome.dispatcherId;
    this.isUp = true;
    this.#options.listener.linkUp(this);
  }

  #receive(frame: LinkResponse): void {
    const { listener } = this.#options;
    this.#acknowledged(Number(frame.ack));
    for (const { session, lost } of frame.attached) {
      const live = this.#byNumber.get(session);
      if (live !== undefined && lost.length > 0) listener.lost(live, lost);
    }
    for (const down of frame.sessions) {
      const live = this.#byNumber.get(down.session);
      if (live !== undefined) listener.deliver(live, down);
    }
    listener.frameDone();
    if (frame.closing && !this.closing) {
      this.closing = true;
      listener.linkClosing(this);
    }
  }

  #acknowledged(seq: number): void {
    let count = 0;
    for (const { seq: sent } of this.#sent) {
      if (sent > seq) break;
      count++;
    }
    for (const { seq: sent, frame } of this.#sent.splice(0, count)) {
      for (const { live } of frame.answers) {
        if (live.link !== this) continue;
        live.session.settle(sent);
        this.#options.listener.settled(live);
      }
      for (const then of frame.told) then();
    }
  }

  #ended(): void {
    if (!this.isUp) return;
    this.isUp = false;
    const homeless = [...this.#byNumber.values()];
    this.#byNumber.clear();
    this.#sent = [];
    for (const live of homeless) live.link = undefined;
    this.#options.listener.linkDown(this, homeless);
  }
}
