import type { Capability } from "#libs/proto/legion/registry/v1/capability_pb.ts";
import type { Label } from "#libs/proto/legion/common/v1/label_pb.ts";
import type { SessionDown } from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import type {
  AttemptOutcome,
  AttemptProgress,
  ConnectRequest,
  ConnectResponse,
  Drain,
  Welcome,
} from "#libs/proto/legion/registry/v1/session_pb.ts";
import { type Answer, Answers } from "./answers.ts";
import { Attempts, type Ref } from "./attempts.ts";
import { checkFrame, FrameNumbers } from "./check-frame.ts";
import { checkProgress } from "./check-outcome.ts";
import { Outbox } from "./outbox.ts";
import { sortOutcomes } from "./sort-outcomes.ts";
import { Violation } from "./violation.ts";

/** What an agent said of itself, with the defaults filled in. */
export interface Profile {
  readonly namespace: string;
  readonly agentId: string;
  readonly name: string;
  readonly version: string;
  readonly capabilities: Capability[];
  readonly labels: Label[];
  readonly sdk: string;
  readonly resumable: boolean;
}

export interface Limits {
  readonly heartbeatIntervalMs: number;
  readonly leaseMs: number;
  readonly maxResultBytes: number;
}

/** What a frame of the agent comes to. */
export interface Reception {
  /** To be recorded: goes to the Dispatcher. */
  readonly answer: Answer | undefined;
  /** To be told: goes to the Dispatcher. */
  readonly progress: AttemptProgress[];
  /** The number of slots the session offers may have changed. */
  readonly offerChanged: boolean;
}

/** `expired`: nothing was heard for a lease. `deaf`: nothing was acknowledged for a lease. */
export type Due = "expired" | "deaf" | "heartbeat" | "nothing";

/**
 * One session: what it holds, what was sent and acknowledged in both directions, whether it is alive. Times are
 * milliseconds of one clock, which the caller gives.
 *
 * `active` ⇄ `suspended` (its stream broke, the agent may come back) → `over`.
 */
export class Session {
  readonly id: string;
  profile: Profile;
  slots: number;
  weight: number;
  phase: "active" | "suspended" | "over" = "active";
  /** Takes nothing new any more, because the agent or an operator said so. */
  draining = false;
  /** It was ejected, and takes nothing new until then. */
  restUntilMs: number | undefined;
  /** Takes nothing new here any more, because this Registry goes away. */
  #leaving = false;
  /** We do not read from it just now, so its silence means nothing. */
  readingPaused = false;
  readonly attempts = new Attempts();
  readonly answers = new Answers();
  readonly outbox = new Outbox();
  readonly #limits: Limits;
  #numbers = new FrameNumbers();
  #welcome: Welcome | undefined;
  #drain: Drain | undefined;
  #sentSeq = 0;
  /** What the agent has acknowledged. */
  #acknowledged = 0;
  /** What the agent was told is dealt with. */
  #toldAck = 0;
  #heardMs: number;
  #sentMs: number;
  /** Since when frames stand unacknowledged without any progress; undefined when none does. */
  #unacknowledgedSinceMs: number | undefined;

  constructor(id: string, profile: Profile, slots: number, weight: number, limits: Limits, nowMs: number) {
    this.id = id;
    this.profile = profile;
    this.slots = slots;
    this.weight = weight;
    this.#limits = limits;
    this.#heardMs = nowMs;
    this.#sentMs = nowMs;
  }

  /** How many attempts it takes at once, now. */
  get offeredSlots(): number {
    const takesWork = !this.draining && !this.#leaving && this.restUntilMs === undefined;
    return this.phase === "active" && takesWork ? this.slots : 0;
  }

  /** The frame that said hello, and was checked, counts as the first. */
  greeted(first: ConnectRequest, welcome: Welcome): void {
    this.#numbers.next(first.seq);
    this.#welcome = welcome;
  }

  /** @throws Violation */
  receive(frame: ConnectRequest, nowMs: number): Reception {
    checkFrame(frame);
    this.#numbers.next(frame.seq);
    this.#heardMs = nowMs;
    this.#acknowledge(frame.ack, nowMs);
    // Before the outcomes: the last news of an attempt often come with its outcome.
    const progress = frame.progress.length === 0 ? frame.progress : frame.progress.filter((news) => this.#isNews(news));
    const answer = frame.outcomes.length === 0 ? undefined : this.#answer(frame.outcomes);
    const offered = this.offeredSlots;
    if (frame.drain !== undefined) this.draining = true;
    if (frame.setSlots !== undefined) this.slots = frame.setSlots.slots;
    return { answer, progress, offerChanged: offered !== this.offeredSlots };
  }

  /**
   * Takes what the Dispatcher has for the agent.
   * @returns false when there were assignments it may not be given, because it has no free slot or takes nothing new: they
   *   are not the session's, and the Dispatcher must be told what is.
   */
  give({ assignments, cancels, rejections }: SessionDown): boolean {
    let refused = 0;
    const accepted = assignments.filter((assignment) => {
      if (this.attempts.unanswered < this.offeredSlots) return this.attempts.assign(assignment);
      refused++;
      return false;
    });
    this.outbox.assign(accepted);
    const known = cancels.filter((cancel) => {
      const attempt = this.attempts.find(cancel);
      if (attempt === undefined || attempt.answered) return false;
      attempt.cancel = cancel;
      return true;
    });
    if (this.phase === "active") {
      this.outbox.cancel(known);
      this.outbox.reject(rejections);
    }
    return refused === 0;
  }

  /** Asks the agent to take nothing new. What no frame has carried yet is not the session's any more; true if there was any. */
  drain(drain: Drain): boolean {
    const held = this.attempts.size;
    if (drain.reconnect) this.#leaving = true;
    else this.draining = true;
    this.#drain = drain;
    this.outbox.dropAssignments();
    this.attempts.dropUndelivered();
    return this.attempts.size < held;
  }

  get hasFrame(): boolean {
    return this.#welcome !== undefined || this.#drain !== undefined || this.outbox.length > 0;
  }

  /** Whether the agent waits to be told that outcomes are dealt with. */
  get owesAcknowledgement(): boolean {
    return this.answers.acknowledgeable(this.#numbers.received) > this.#toldAck;
  }

  /** The next frame for the agent. Call it again while `hasFrame`. */
  nextFrame(nowMs: number): ConnectResponse {
    const seq = ++this.#sentSeq;
    this.#sentMs = nowMs;
    this.#unacknowledgedSinceMs ??= nowMs;
    this.#toldAck = this.answers.acknowledgeable(this.#numbers.received);
    const silent = !this.hasFrame;
    const { assignments, cancels, rejections } = this.outbox.take();
    for (const assignment of assignments) this.attempts.delivered(assignment, seq);
    const frame: ConnectResponse = {
      $typeName: "legion.registry.v1.ConnectResponse",
      seq: BigInt(seq),
      ack: BigInt(this.#toldAck),
      welcome: this.#welcome,
      heartbeat: silent ? heartbeat : undefined,
      assignments,
      cancels,
      rejections,
      drain: this.#drain,
    };
    this.#welcome = undefined;
    this.#drain = undefined;
    return frame;
  }

  /** The Dispatcher has dealt with everything up to that frame of the Link. */
  settle(linkSeq: number): void {
    for (const { attempts } of this.answers.settle(linkSeq)) {
      for (const attempt of attempts) this.attempts.settle(attempt);
    }
  }

  /** The stream broke. What no frame has carried yet is not the session's any more; true if there was any. */
  suspend(nowMs: number): boolean {
    const held = this.attempts.size;
    this.phase = "suspended";
    this.#heardMs = nowMs;
    this.#unacknowledgedSinceMs = undefined;
    this.outbox.clear();
    this.attempts.dropUndelivered();
    this.answers.streamLost();
    return this.attempts.size < held;
  }

  /** The agent is back on a new stream, and holds `refs`. @returns what of it is not the session's. */
  resume(profile: Profile, slots: number, refs: readonly Ref[], nowMs: number): Ref[] {
    this.phase = "active";
    this.profile = profile;
    this.slots = slots;
    // The agent's own wish to drain ended with its stream; an operator's is said again.
    this.draining = this.#leaving = false;
    this.readingPaused = false;
    this.#numbers = new FrameNumbers();
    this.#sentSeq = this.#acknowledged = this.#toldAck = 0;
    this.#heardMs = this.#sentMs = nowMs;
    this.#unacknowledgedSinceMs = undefined;
    this.#drain = undefined;
    this.outbox.clear();
    this.answers.streamLost();
    const lost = this.attempts.reconcile(refs);
    this.outbox.cancel(this.attempts.cancels());
    return lost;
  }

  /** @returns what the agent had received and not answered. */
  end(): Ref[] {
    this.phase = "over";
    this.outbox.clear();
    return this.attempts.received(this.#acknowledged);
  }

  /** Asked regularly; `heartbeat` means that the agent should hear something. `graceMs` is the time to the next question. */
  due(nowMs: number, graceMs: number): Due {
    const { leaseMs, heartbeatIntervalMs } = this.#limits;
    const since = this.#unacknowledgedSinceMs;
    if (nowMs - this.#heardMs > leaseMs && !this.readingPaused) return "expired";
    if (this.phase !== "active") return "nothing";
    if (since !== undefined && nowMs - since > leaseMs && !this.readingPaused) return "deaf";
    return nowMs - this.#sentMs + graceMs > heartbeatIntervalMs ? "heartbeat" : "nothing";
  }

  /** Reading was paused on our side, and goes on. */
  readingResumed(nowMs: number): void {
    this.readingPaused = false;
    this.#heardMs = nowMs;
    if (this.#unacknowledgedSinceMs !== undefined) this.#unacknowledgedSinceMs = nowMs;
  }

  #acknowledge(ack: bigint, nowMs: number): void {
    const seq = Number(ack);
    if (seq > this.#sentSeq) {
      const message = `must be the number of a frame that was sent, at most ${this.#sentSeq}, is ${ack}`;
      throw new Violation("PROTOCOL_VIOLATION", "ack", message);
    }
    // A lower one than before is what an agent with several threads sends; it takes nothing back.
    if (seq <= this.#acknowledged) return;
    this.#acknowledged = seq;
    this.#unacknowledgedSinceMs = seq === this.#sentSeq ? undefined : nowMs;
  }

  #answer(outcomes: readonly AttemptOutcome[]): Answer | undefined {
    const { fresh, attempts, rejections } = sortOutcomes(this.attempts, outcomes, this.#limits.maxResultBytes);
    if (rejections.length > 0) this.outbox.reject(rejections);
    if (fresh.length === 0) return undefined;
    const answer = { seq: this.#numbers.received, outcomes: fresh, attempts, linkSeq: 0 };
    this.answers.push(answer);
    return answer;
  }

  #isNews(news: AttemptProgress): boolean {
    const attempt = this.attempts.find(news);
    if (attempt === undefined || attempt.answered) return false;
    checkProgress(news);
    return true;
  }
}

const heartbeat = { $typeName: "legion.registry.v1.Heartbeat" } as const;
