import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type {
  LinkRequest,
  LinkResponseSchema,
  SessionAttach,
  SessionUp,
} from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import { SessionDownSchema, type SessionDown } from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import type { Assignment, CancelAttempt, OutcomeRejection } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { CancelAttemptSchema, OutcomeRejectionSchema } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { DuplexStream } from "#libs/rpc/duplex-stream.ts";
import { legionError } from "#libs/rpc/errors.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { AgentFrames } from "../engine/agent-frames.ts";
import type { Home } from "../engine/home.ts";
import type { Links } from "../engine/links.ts";
import type { HomeSession, SessionOutlet } from "../engine/session.ts";
import { AckLine } from "../core/ack-line.ts";

export interface LinkParts {
  readonly home: Home;
  readonly frames: AgentFrames;
  readonly log: Logger;
  readonly instanceId: string;
  readonly maxResultBytes: number;
  readonly links: Links;
}

type LinkStream = DuplexStream<LinkRequest, MessageInitShape<typeof LinkResponseSchema>>;

// Above this a frame goes out in several. Half of gRPC's own limit, so that one more item of the largest size still fits.
const frameBytes = 1024 * 1024;
const frameItems = 1_000;

/** LinkService.Link: one Registry's stream, straight on gRPC: every assignment and every outcome passes here. */
export function acceptLink(parts: LinkParts, stream: LinkStream): void {
  new Link(parts, stream);
}

class Link implements SessionOutlet {
  readonly #parts: LinkParts;
  readonly #stream: LinkStream;
  readonly #sessions = new Map<number, HomeSession>();
  /** The numbers that sessions have now, by session id. */
  readonly #numbers = new Map<string, number>();
  /** Attaches under way; what comes for the session meanwhile waits for them. */
  readonly #attaching = new Map<number, Promise<void>>();
  readonly #acks = new AckLine();
  #down = new Map<number, SessionDown>();
  #bytes = 0;
  #items = 0;
  #sentAck = 0n;
  #scheduled = false;
  #greeted = false;

  constructor(parts: LinkParts, stream: LinkStream) {
    this.#parts = parts;
    this.#stream = stream;
    stream.onMessage((frame) => this.#receive(frame));
    stream.onEnd(() => stream.end());
    stream.onClose(() => this.#lost());
    stream.onDrain(() => this.#schedule());
  }

  assign(session: HomeSession, assignment: Assignment): void {
    this.#downTo(session).assignments.push(assignment);
    this.#grew((assignment.taskData?.data.length ?? 0) + 200);
  }

  cancel(session: HomeSession, cancel: MessageInitShape<typeof CancelAttemptSchema>): void {
    this.#downTo(session).cancels.push(create(CancelAttemptSchema, cancel) satisfies CancelAttempt);
    this.#grew(200);
  }

  reject(session: HomeSession, rejection: MessageInitShape<typeof OutcomeRejectionSchema>): void {
    this.#downTo(session).rejections.push(create(OutcomeRejectionSchema, rejection) satisfies OutcomeRejection);
    this.#grew(200);
  }

  close(): void {
    this.#stream.write({ closing: true });
  }

  #receive(frame: LinkRequest): void {
    if (!this.#greeted) return this.#greet(frame);
    this.#acks.begin(frame.seq);
    // A session that is attached anew has another number from then on; what it sent under the old one comes before that.
    const sessions =
      frame.attaches.length === 0
        ? frame.sessions
        : frame.sessions.filter((up) => {
            const isOld = this.#sessions.has(up.session) || this.#attaching.has(up.session);
            if (isOld) this.#up(frame.seq, up);
            return !isOld;
          });
    for (const attach of frame.attaches) this.#attach(frame.seq, attach);
    for (const update of frame.updates) {
      this.#when(update.session, frame.seq, (session) => this.#parts.frames.update(session, update));
    }
    for (const up of sessions) this.#up(frame.seq, up);
    for (const end of frame.ends) {
      if (end.session === 0) {
        this.#acks.hold(frame.seq);
        void this.#parts.home
          .endUnattached(end)
          .catch((err: unknown) => this.#parts.log.error("a session's end could not be handled", { err }))
          .finally(() => this.#release(frame.seq));
        continue;
      }
      this.#when(end.session, frame.seq, (session) => {
        this.#sessions.delete(end.session);
        if (this.#numbers.get(session.sessionId) === end.session) this.#numbers.delete(session.sessionId);
        this.#parts.home.end(session, end);
      });
    }
    if (frame.agentCounts) this.#parts.links.counted(Number(frame.agentCounts.total), Number(frame.agentCounts.active));
    this.#release(frame.seq);
  }

  #greet(frame: LinkRequest): void {
    if (frame.hello === undefined) {
      this.#stream.fail(legionError("HELLO_EXPECTED", "The first frame of a Link must carry hello."));
      return;
    }
    this.#greeted = true;
    this.#acks.begin(frame.seq);
    this.#acks.release(frame.seq);
    this.#parts.links.add(this);
    const { instanceId, maxResultBytes } = this.#parts;
    this.#stream.write({ welcome: { dispatcherId: instanceId, maxResultBytes } });
  }

  #up(seq: bigint, { session: handle, progress, outcomes }: SessionUp): void {
    this.#when(handle, seq, (session) => {
      for (const news of progress) this.#parts.frames.progress(session, news);
      for (const outcome of outcomes) {
        this.#acks.hold(seq);
        this.#parts.frames.outcome(session, outcome, () => this.#release(seq));
      }
    });
  }

  #attach(seq: bigint, attach: SessionAttach): void {
    this.#acks.hold(seq);
    const attaching = this.#parts.home
      .attach(attach, this)
      .then(
        ({ session, lost }) => {
          if (!this.#stream.writable) return this.#parts.home.suspend(session);
          const before = this.#numbers.get(attach.sessionId);
          if (before !== undefined) this.#sessions.delete(before);
          this.#numbers.set(attach.sessionId, attach.session);
          this.#sessions.set(attach.session, session);
          this.#stream.write({ attached: [{ session: attach.session, lost }] });
        },
        (err: unknown) =>
          this.#parts.log.error("a session could not be attached", { err, session_id: attach.sessionId }),
      )
      .finally(() => {
        if (this.#attaching.get(attach.session) === attaching) this.#attaching.delete(attach.session);
        this.#release(seq);
      });
    this.#attaching.set(attach.session, attaching);
  }

  /** Does something with a session, once it is attached. */
  #when(handle: number, seq: bigint, act: (session: HomeSession) => void): void {
    const session = this.#sessions.get(handle);
    if (session !== undefined) return act(session);
    const attaching = this.#attaching.get(handle);
    if (attaching === undefined) return;
    this.#acks.hold(seq);
    const later = attaching.then(() => {
      const attached = this.#sessions.get(handle);
      if (attached !== undefined) act(attached);
      this.#release(seq);
    });
    // What comes next for the session comes after this.
    this.#attaching.set(handle, later);
    void later.then(() => {
      if (this.#attaching.get(handle) === later) this.#attaching.delete(handle);
    });
  }

  #release(seq: bigint): void {
    this.#acks.release(seq);
    if (this.#acks.acked !== this.#sentAck) this.#schedule();
  }

  #lost(): void {
    this.#parts.links.remove(this);
    for (const session of this.#sessions.values()) this.#parts.home.suspend(session);
    this.#sessions.clear();
  }

  #downTo(session: HomeSession): SessionDown {
    let down = this.#down.get(session.handle);
    if (down === undefined) {
      down = create(SessionDownSchema);
      down.session = session.handle;
      this.#down.set(session.handle, down);
    }
    return down;
  }

  #grew(bytes: number): void {
    this.#bytes += bytes;
    this.#items++;
    if (this.#bytes >= frameBytes || this.#items >= frameItems) this.#flush();
    else this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#items === 0 && this.#acks.acked === this.#sentAck) return;
    this.#sentAck = this.#acks.acked;
    const sessions = [...this.#down.values()];
    this.#down = new Map();
    this.#bytes = 0;
    this.#items = 0;
    // What is written here is bounded by the slots of the sessions, whether or not the stream wants more.
    this.#stream.write({ ack: this.#sentAck, sessions });
  }
}
