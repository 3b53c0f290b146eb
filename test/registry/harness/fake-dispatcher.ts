import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type AgentCounts,
  type LinkRequest,
  type LinkResponseSchema,
  LinkService,
  type SessionAttach,
  type SessionDownSchema,
  type SessionEnd,
  type SessionUpdate,
} from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import {
  type Assignment,
  AssignmentSchema,
  type AttemptOutcome,
  type AttemptProgress,
} from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { DuplexStream } from "#libs/rpc/duplex-stream.ts";
import { GrpcServer } from "#libs/rpc/grpc-server.ts";
import { Watched } from "./watched.ts";

type Stream = DuplexStream<LinkRequest, MessageInitShape<typeof LinkResponseSchema>>;

/** A session as this Dispatcher was told of it. */
export interface Attached {
  readonly stream: Stream;
  attach: SessionAttach;
  readonly updates: SessionUpdate[];
}

/** The Dispatcher's side of the Link, with nothing behind it: the test decides. */
export class FakeDispatcher extends Watched implements AsyncDisposable {
  id: string = randomUUID();
  port = 0;
  readonly registries: string[] = [];
  /** By session_id; the newest attach. */
  readonly sessions = new Map<string, Attached>();
  readonly attaches: SessionAttach[] = [];
  readonly outcomes: { readonly sessionId: string; readonly outcome: AttemptOutcome }[] = [];
  readonly progress: AttemptProgress[] = [];
  readonly ends: SessionEnd[] = [];
  readonly streams = new Set<Stream>();
  counts: AgentCounts | undefined;
  #acknowledging = true;
  readonly #unacknowledged = new Map<Stream, bigint>();
  readonly #numbers = new Map<string, string>();
  #server: GrpcServer | undefined;

  /** @param port 0, or the one of a Dispatcher that was here before */
  static async start(port = 0): Promise<FakeDispatcher> {
    const dispatcher = new FakeDispatcher();
    const log = { warn: () => {}, error: (message: string, fields?: object) => console.error(message, fields) };
    const server = new GrpcServer({ host: "127.0.0.1", port, log });
    server.mountStream(LinkService.method.link, (stream) => dispatcher.#accept(stream));
    dispatcher.#server = server;
    dispatcher.port = await server.listen();
    return dispatcher;
  }

  /** While false, frames are read and not acknowledged. */
  set acknowledging(acknowledging: boolean) {
    this.#acknowledging = acknowledging;
    if (!acknowledging) return;
    for (const [stream, ack] of this.#unacknowledged) stream.write({ ack });
    this.#unacknowledged.clear();
  }

  attached(sessionId: string): Promise<Attached> {
    return this.until(`the session ${sessionId} to be attached`, () => this.sessions.get(sessionId));
  }

  ended(sessionId: string): Promise<SessionEnd> {
    return this.until(`the end of session ${sessionId}`, () => this.ends.find((end) => end.sessionId === sessionId));
  }

  /** A frame for one session, under the number it has now. */
  send(sessionId: string, down: Omit<MessageInitShape<typeof SessionDownSchema>, "$typeName" | "session">): void {
    const attached = this.sessions.get(sessionId);
    if (attached === undefined) throw new Error(`${sessionId} is not attached`);
    attached.stream.write({ sessions: [{ ...down, session: attached.attach.session }] });
  }

  assign(sessionId: string, ...taskIds: string[]): void {
    this.send(sessionId, { assignments: taskIds.map((taskId) => assignment(taskId)) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
  }

  #accept(stream: Stream): void {
    const stack = String(this.streams.size);
    this.streams.add(stream);
    const link = `${stack} ${randomUUID()}`;
    stream.onClose(() => {
      this.streams.delete(stream);
      this.changed();
    });
    stream.onMessage((frame) => {
      if (frame.hello !== undefined) {
        this.registries.push(frame.hello.registryId);
        stream.write({ ack: frame.seq, welcome: { dispatcherId: this.id, maxResultBytes: 2 ** 21 } });
      } else {
        this.#read(stream, link, frame);
        if (this.#acknowledging) stream.write({ ack: frame.seq });
        else this.#unacknowledged.set(stream, frame.seq);
      }
      this.changed();
    });
  }

  #read(stream: Stream, link: string, frame: LinkRequest): void {
    for (const attach of frame.attaches) {
      this.attaches.push(attach);
      this.sessions.set(attach.sessionId, { stream, attach, updates: [] });
      this.#numbers.set(`${link} ${attach.session}`, attach.sessionId);
    }
    for (const update of frame.updates) {
      const sessionId = this.#numbers.get(`${link} ${update.session}`) ?? "";
      const attached = this.sessions.get(sessionId);
      if (attached?.attach.session === update.session) attached.updates.push(update);
    }
    for (const { session, outcomes, progress } of frame.sessions) {
      const sessionId = this.#numbers.get(`${link} ${session}`) ?? "";
      this.outcomes.push(...outcomes.map((outcome) => ({ sessionId, outcome })));
      this.progress.push(...progress);
    }
    for (const end of frame.ends) {
      this.ends.push(end);
      this.sessions.delete(end.sessionId);
    }
    if (frame.agentCounts !== undefined) this.counts = frame.agentCounts;
  }
}

export function assignment(taskId: string, data: Uint8Array = Buffer.from("{}")): Assignment {
  return create(AssignmentSchema, { taskId, attempt: 1, capability: "greet", taskData: { data }, maxAttempts: 3 });
}
