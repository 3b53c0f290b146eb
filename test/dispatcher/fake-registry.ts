import type { MessageInitShape } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import type { Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import {
  LinkService,
  type LinkRequest,
  type LinkRequestSchema,
  type LinkResponse,
  type SessionAttach,
  type SessionAttachSchema,
} from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import type {
  Assignment,
  AttemptOutcomeSchema,
  AttemptProgressSchema,
  AttemptRef,
  CancelAttempt,
  OutcomeRejection,
} from "#libs/proto/legion/registry/v1/session_pb.ts";
import { GrpcChannel, openStream, type ClientStream } from "#libs/rpc/grpc-client.ts";
import { waitFor } from "../harness/wait-for.ts";
import { Inbox } from "./inbox.ts";

type Frame = Exclude<MessageInitShape<typeof LinkRequestSchema>, LinkRequest>;
export type Ref = Pick<AttemptRef, "taskId" | "attempt">;

export interface Attach extends Omit<
  Exclude<MessageInitShape<typeof SessionAttachSchema>, SessionAttach>,
  "session" | "inFlight"
> {
  readonly inFlight?: readonly Ref[];
}

let sessions = 0;

/** Stands for a Registry: it holds sessions over a real Link, and the test says what their agents do. */
export class FakeRegistry implements AsyncDisposable {
  readonly address: string;
  readonly closed: Promise<ConnectError | undefined>;
  /** Whether the Dispatcher said that it goes away. */
  readonly closing = Promise.withResolvers<void>();
  readonly #channel: GrpcChannel;
  readonly #stream: ClientStream<Frame, LinkResponse>;
  readonly #sessions = new Map<number, FakeSession>();
  readonly #acked: { readonly seq: bigint; readonly done: () => void }[] = [];
  readonly #welcome = Promise.withResolvers<void>();
  #seq = 0n;
  #number = 0;
  acked = 0n;

  private constructor(address: string) {
    this.address = address;
    this.#channel = new GrpcChannel(address);
    this.#stream = openStream(this.#channel, LinkService.method.link);
    this.closed = new Promise((resolve) => this.#stream.onClose(resolve));
    void this.closed.then((error) => this.#welcome.reject(error ?? new Error("The Link ended.")));
    this.#stream.onMessage((frame) => this.#receive(frame));
    void this.send({ hello: { registryId: "fake" } });
  }

  static async connect(address: string): Promise<FakeRegistry> {
    const registry = new FakeRegistry(address);
    await registry.#welcome.promise;
    return registry;
  }

  /** Sends a frame; resolves when it is acknowledged, and never if the link is lost before. */
  send(frame: Frame): Promise<void> {
    const seq = ++this.#seq;
    this.#stream.write({ ...frame, seq });
    return new Promise((done) => this.#acked.push({ seq, done }));
  }

  /** Resolves when the Dispatcher has answered. */
  async attach(attach: Attach): Promise<FakeSession> {
    const session = this.begin(attach);
    await session.attached;
    return session;
  }

  /** Sends the attach alone. */
  begin(attach: Attach, together: Frame = {}): FakeSession {
    const number = ++this.#number;
    const session = new FakeSession(this, number, attach);
    this.#sessions.set(number, session);
    void this.send({ ...together, attaches: [session.attach] });
    return session;
  }

  /** Cuts the link, as a broken network would. */
  async drop(): Promise<void> {
    this.#stream.fail(new ConnectError("The test cut it."));
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stream.end();
    this.#channel.close();
    await this.closed;
  }

  #receive(frame: LinkResponse): void {
    if (frame.welcome) this.#welcome.resolve();
    if (frame.closing) this.closing.resolve();
    for (const { session, lost } of frame.attached) this.#sessions.get(session)?.welcomed(lost);
    for (const down of frame.sessions) {
      const session = this.#sessions.get(down.session);
      for (const assignment of down.assignments) session?.given(assignment);
      for (const cancel of down.cancels) session?.cancels.put(cancel);
      for (const rejection of down.rejections) session?.rejections.put(rejection);
    }
    this.acked = frame.ack > this.acked ? frame.ack : this.acked;
    while (this.#acked[0] !== undefined && this.#acked[0].seq <= this.acked) this.#acked.shift()?.done();
  }
}

/** One agent's session. */
export class FakeSession {
  readonly registry: FakeRegistry;
  readonly number: number;
  readonly attach: Exclude<MessageInitShape<typeof SessionAttachSchema>, SessionAttach> & {
    readonly sessionId: string;
  };
  readonly assignments = new Inbox<Assignment>("an assignment");
  readonly cancels = new Inbox<CancelAttempt>("a cancel");
  readonly rejections = new Inbox<OutcomeRejection>("a rejection");
  /** Every assignment that came. */
  readonly got: Assignment[] = [];
  /** Answers each assignment at once, if set. */
  work: ((assignment: Assignment) => Outcome | undefined) | undefined;
  lost: AttemptRef[] = [];
  readonly #attached = Promise.withResolvers<void>();

  constructor(registry: FakeRegistry, number: number, attach: Attach) {
    this.registry = registry;
    this.number = number;
    sessions++;
    this.attach = {
      sessionId: `session-${sessions}`,
      namespace: "default",
      agentId: `agent-${sessions}`,
      name: "worker-bee",
      version: "1",
      weight: 100,
      slots: 100,
      capabilities: [{ name: "greet" }],
      ...attach,
      session: number,
    } as FakeSession["attach"];
  }

  get attached(): Promise<void> {
    return this.#attached.promise;
  }

  get sessionId(): string {
    return this.attach.sessionId;
  }

  welcomed(lost: AttemptRef[]): void {
    this.lost = lost;
    this.#attached.resolve();
  }

  given(assignment: Assignment): void {
    this.got.push(assignment);
    const outcome = this.work?.(assignment);
    if (outcome === undefined) this.assignments.put(assignment);
    else void this.answer(assignment, outcome);
  }

  /** The agent's answer; resolves when it is acknowledged. */
  answer(
    { taskId, attempt }: Ref,
    outcome: Outcome,
    more: MessageInitShape<typeof AttemptOutcomeSchema> = {},
  ): Promise<void> {
    const outcomes = [{ ...more, taskId, attempt, outcome }];
    return this.registry.send({ sessions: [{ session: this.number, outcomes }] });
  }

  progress(news: MessageInitShape<typeof AttemptProgressSchema>): Promise<void> {
    return this.registry.send({ sessions: [{ session: this.number, progress: [news] }] });
  }

  update(update: { slots: number; weight: number }): Promise<void> {
    return this.registry.send({ updates: [{ session: this.number, ...update }] });
  }

  /** Ends the session. @param received what its agent had received; undefined: nobody knows. */
  end(received?: readonly Ref[]): Promise<void> {
    const { sessionId, number: session } = this;
    const end = { session, sessionId, reason: "it went away", received: [...(received ?? [])] };
    return this.registry.send({ ends: [{ ...end, receivedUnknown: received === undefined }] });
  }

  /** The next assignment; fails if it is not the task. */
  async expect(taskId: string, attempt = 1): Promise<Assignment> {
    const assignment = await this.assignments.next();
    if (assignment.taskId !== taskId || assignment.attempt !== attempt) {
      throw new Error(`Expected ${taskId}#${attempt}, was given ${assignment.taskId}#${assignment.attempt}.`);
    }
    return assignment;
  }

  /** Waits for so many assignments in all. */
  async whenGiven(count: number): Promise<void> {
    await waitFor(() => this.got.length >= count, {
      describe: () => `${count} assignments; ${this.got.length} came`,
      timeoutMs: 30_000,
    });
  }
}
