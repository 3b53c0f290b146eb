import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  SessionAttachSchema,
  SessionEndSchema,
  SessionUp,
  SessionUpdateSchema,
} from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import type { AttemptOutcome, AttemptProgress } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Answer } from "../core/answers.ts";
import type { Ref } from "../core/attempts.ts";
import { frameBytes, frameItems } from "../core/outbox.ts";
import type { LiveSession } from "./live-session.ts";

/** One frame in the making, and who waits for it to be acknowledged. */
export class LinkFrame {
  readonly attaches: MessageInitShape<typeof SessionAttachSchema>[] = [];
  readonly updates: MessageInitShape<typeof SessionUpdateSchema>[] = [];
  readonly sessions: SessionUp[] = [];
  readonly ends: MessageInitShape<typeof SessionEndSchema>[] = [];
  /** Answers whose last outcome it carries. */
  readonly answers: { readonly live: LiveSession; readonly answer: Answer }[] = [];
  readonly told: (() => void)[] = [];
  items = 0;
  bytes = 0;
}

/** Packs what there is for a Dispatcher into frames of at most 256 items and about 1 MiB, in order. */
export class LinkFrames {
  readonly #write: (frame: LinkFrame) => void;
  #frame = new LinkFrame();

  constructor(write: (frame: LinkFrame) => void) {
    this.#write = write;
  }

  attach({ session, number }: LiveSession): void {
    const { profile } = session;
    const inFlight = session.attempts.refs();
    let bytes = 256 + refBytes(inFlight);
    for (const { name, inputSchema } of profile.capabilities) bytes += 16 + name.length + inputSchema.length;
    for (const { key, value } of profile.labels) bytes += 8 + key.length + value.length;
    this.#with(1, bytes).attaches.push({
      session: number,
      sessionId: session.id,
      namespace: profile.namespace,
      agentId: profile.agentId,
      name: profile.name,
      version: profile.version,
      weight: session.weight,
      capabilities: profile.capabilities,
      labels: profile.labels,
      slots: session.offeredSlots,
      inFlight,
    });
  }

  update({ session, number }: LiveSession): void {
    this.#with(1, 24).updates.push({ session: number, slots: session.offeredSlots, weight: session.weight });
  }

  /** The number stands for nothing any more. */
  release(number: number): void {
    this.#with(1, 24).updates.push({ session: number, slots: 0, weight: 0 });
  }

  /** Hands the decoded arrays on as they are, unless they are more than fits in one frame. */
  up(live: LiveSession, answer: Answer | undefined, progress: AttemptProgress[]): void {
    const outcomes = answer?.outcomes ?? [];
    const items = outcomes.length + progress.length;
    let bytes = 0;
    for (const outcome of outcomes) bytes += outcomeBytes(outcome);
    for (const news of progress) bytes += progressBytes(news);
    if (items <= frameItems && bytes <= frameBytes) {
      this.#with(items, bytes).sessions.push(upOf(live, outcomes, progress));
    } else {
      for (const news of progress) this.#with(1, progressBytes(news)).sessions.push(upOf(live, [], [news]));
      for (const outcome of outcomes) this.#with(1, outcomeBytes(outcome)).sessions.push(upOf(live, [outcome], []));
    }
    if (answer !== undefined) this.#frame.answers.push({ live, answer });
  }

  /** @param then called when the Dispatcher has dealt with it. */
  end(number: number, sessionId: string, reason: string, received: Ref[] | undefined, then: () => void): void {
    const frame = this.#with(1, 128 + refBytes(received ?? []));
    frame.ends.push({
      session: number,
      sessionId,
      reason,
      received: received ?? [],
      receivedUnknown: received === undefined,
    });
    frame.told.push(then);
  }

  flush(): void {
    if (this.#frame.items === 0) return;
    const frame = this.#frame;
    this.#frame = new LinkFrame();
    this.#write(frame);
  }

  /** The frame that has room for so much more. */
  #with(items: number, bytes: number): LinkFrame {
    const { items: itemsBefore, bytes: bytesBefore } = this.#frame;
    if (itemsBefore + items > frameItems || bytesBefore + bytes > frameBytes) this.flush();
    this.#frame.items += items;
    this.#frame.bytes += bytes;
    return this.#frame;
  }
}

function upOf({ number }: LiveSession, outcomes: AttemptOutcome[], progress: AttemptProgress[]): SessionUp {
  return { $typeName: "legion.dispatcher.v1.SessionUp", session: number, outcomes, progress };
}

// Estimates of what the fields take on the wire, rather too high than too low.
function refBytes(refs: readonly Ref[]): number {
  let bytes = 0;
  for (const { taskId } of refs) bytes += 12 + taskId.length;
  return bytes;
}

function progressBytes({ taskId, message, output }: AttemptProgress): number {
  return 64 + taskId.length + 3 * message.length + (output?.data.length ?? 0);
}

function outcomeBytes({ taskId, outcome }: AttemptOutcome): number {
  const kind = outcome?.kind;
  let bytes = 128 + taskId.length;
  if (kind?.case === "completed") bytes += kind.value.result?.data.length ?? 0;
  if (kind?.case === "failed") bytes += 3 * kind.value.message.length + (kind.value.details?.data.length ?? 0);
  if (kind?.case === "canceled") bytes += 3 * kind.value.reason.length;
  return bytes;
}
