import type { SessionDown } from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import { type AttemptProgress, CancelCause } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { isTracing } from "#libs/telemetry/task-spans.ts";
import type { Answer } from "../core/answers.ts";
import type { Ref } from "../core/attempts.ts";
import { chooseHome } from "../core/choose-home.ts";
import type { AgentTotals } from "../sql/list-agents.ts";
import { startDeliveries } from "./deliver-spans.ts";
import type { Link, LinkListener } from "./link.ts";
import type { LiveSession } from "./live-session.ts";

export interface HomesListener {
  /** There is something for the agent. */
  deliverable(live: LiveSession): void;
  /** Outcomes are dealt with, which the agent should be told. */
  settled(live: LiveSession): void;
  /** The Dispatcher takes data again, or is gone. */
  drained(link: Link): void;
}

/** Gives each session its home among the Dispatchers that are linked, and another one when that is lost. */
export class Homes implements LinkListener {
  readonly #listener: HomesListener;
  readonly #up = new Set<Link>();
  /** Sessions without a home; those too that are over, and whose end no Dispatcher has dealt with. */
  readonly #homeless = new Set<LiveSession>();
  /** Sessions that got something in the frame that is being handed out. */
  readonly #touched = new Set<LiveSession>();
  /** Those of them that were given more than they may have. */
  readonly #refusing = new Set<LiveSession>();
  #counts: AgentTotals | undefined;

  constructor(listener: HomesListener) {
    this.#listener = listener;
  }

  get links(): ReadonlySet<Link> {
    return this.#up;
  }

  /** Something was sent that a Dispatcher has not dealt with, or could not be sent. */
  get busy(): boolean {
    return this.#homeless.size > 0 || [...this.#up].some((link) => link.busy);
  }

  /** A session has come, or what it holds has changed: its home is told anew. */
  attach(live: LiveSession): void {
    if (live.link === undefined) this.#place(live);
    else live.link.attach(live);
  }

  update(live: LiveSession): void {
    live.link?.update(live);
  }

  /** Without a home the answer waits in the session; progress is for whoever looks now. */
  report(live: LiveSession, answer: Answer | undefined, progress: AttemptProgress[]): void {
    live.link?.up(live, answer, progress);
  }

  /** `live.received` and `live.endReason` say how. */
  end(live: LiveSession): void {
    if (live.link !== undefined) live.link.end(live);
    else if (live.wasHomed || live.session.attempts.size > 0) this.#place(live);
    else this.#homeless.delete(live);
  }

  /** It goes on at another Registry. */
  release(live: LiveSession): void {
    live.link?.release(live);
    live.link = undefined;
    this.#homeless.delete(live);
  }

  /** This Registry goes away, and the session may go on at any other: nothing more is said of it. */
  leave(live: LiveSession): void {
    live.link?.drop(live);
    live.link = undefined;
    this.#homeless.delete(live);
  }

  /**
   * Tells every Dispatcher that a session is over of which nothing more is known here.
   * @returns whether one of them has dealt with it; false also when none is linked.
   */
  async endUnknown(sessionId: string, reason: string): Promise<boolean> {
    const told = [...this.#up].map((link) => endOn(link, sessionId, reason, undefined));
    return (await Promise.all(told)).includes(true);
  }

  tellCounts(counts: AgentTotals): void {
    if (counts.total === this.#counts?.total && counts.active === this.#counts.active) return;
    this.#counts = counts;
    for (const link of this.#up) link.tellCounts(counts);
  }

  linkUp(link: Link): void {
    this.#up.add(link);
    if (this.#counts !== undefined) link.tellCounts(this.#counts);
    const homeless = [...this.#homeless];
    this.#homeless.clear();
    for (const live of homeless) this.#place(live);
    for (const other of this.#up) if (other.closing) this.#moveFrom(other);
  }

  linkDown(link: Link, homeless: readonly LiveSession[]): void {
    this.#up.delete(link);
    this.#listener.drained(link);
    for (const live of homeless) this.#place(live);
  }

  linkClosing(link: Link): void {
    this.#moveFrom(link);
  }

  linkDrained(link: Link): void {
    this.#listener.drained(link);
  }

  deliver(live: LiveSession, down: SessionDown): void {
    const { session } = live;
    if (session.phase === "over") return;
    if (isTracing()) startDeliveries(session, down.assignments);
    if (!session.give(down)) this.#refusing.add(live);
    this.#touched.add(live);
  }

  lost(live: LiveSession, refs: readonly Ref[]): void {
    const cancels = refs.map(({ taskId, attempt }) => ({
      $typeName: "legion.registry.v1.CancelAttempt" as const,
      taskId,
      attempt,
      cause: CancelCause.LEASE_LOST,
      reason: "The attempt is no longer this session's.",
    }));
    const nothing = { assignments: [], rejections: [] };
    this.deliver(live, { $typeName: "legion.dispatcher.v1.SessionDown", session: live.number, cancels, ...nothing });
  }

  settled(live: LiveSession): void {
    this.#listener.settled(live);
  }

  frameDone(): void {
    for (const live of this.#refusing) if (live.session.phase !== "over") this.attach(live);
    this.#refusing.clear();
    for (const live of this.#touched) this.#listener.deliverable(live);
    this.#touched.clear();
  }

  /** Finds a home for a session that has none. Outcomes that no Dispatcher has dealt with are sent again. */
  #place(live: LiveSession): void {
    const link = chooseHome(this.#up);
    if (link === undefined) {
      this.#homeless.add(live);
      return;
    }
    this.#homeless.delete(live);
    const { session } = live;
    const answers = session.answers.linkLost();
    if (session.phase === "over" && answers.length === 0) {
      void endOn(link, session.id, live.endReason, live.received).then((told) => {
        if (!told) this.#place(live);
      });
      return;
    }
    live.wasHomed = true;
    link.attach(live);
    for (const answer of answers) link.up(live, answer, []);
    if (session.phase === "over") link.end(live);
  }

  /** Its Dispatcher is going away: if there is another, its sessions go there. */
  #moveFrom(link: Link): void {
    if (chooseHome(this.#up) === undefined) return;
    for (const live of link.lives()) {
      link.release(live);
      live.link = undefined;
      this.#place(live);
    }
  }
}

function endOn(link: Link, sessionId: string, reason: string, received: Ref[] | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    link.endById(sessionId, reason, received, () => resolve(true));
    void link.over.then(() => resolve(false));
  });
}
