import type { ConnectError } from "@connectrpc/connect";
import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectRequest } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Ref } from "../core/attempts.ts";
import { AwakeTime } from "../core/awake-time.ts";
import { type Limits, type Profile, Session } from "../core/session.ts";
import type { Opened } from "../sql/open-sessions.ts";
import { Acknowledger } from "./acknowledger.ts";
import { endDeliveries } from "./deliver-spans.ts";
import { Homes, type HomesListener } from "./homes.ts";
import type { Link } from "./link.ts";
import { type AgentStream, type EndCause, LiveSession } from "./live-session.ts";
import { PausedReading } from "./paused-reading.ts";
import type { RegistryMetrics } from "./registry-metrics.ts";
import { expired, fenced } from "./session-errors.ts";
import type { SessionStore } from "./session-store.ts";
import { type VersionKey, Weights } from "./weights.ts";
import { drainOf, welcomeOf } from "./welcome.ts";

export interface SessionsOptions {
  readonly registryId: string;
  readonly limits: Limits;
  readonly store: SessionStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: RegistryMetrics;
}

/** How often each session is looked at, in milliseconds. 10,000 of them take about a millisecond. */
export const tickMs = 250;

/** The sessions that this Registry holds. */
export class Sessions implements HomesListener {
  readonly homes: Homes = new Homes(this);
  readonly #options: SessionsOptions;
  readonly #byId = new Map<string, LiveSession>();
  readonly weights: Weights = new Weights();
  readonly #awake: AwakeTime;
  readonly #acknowledger: Acknowledger;
  readonly #paused = new PausedReading();

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#awake = new AwakeTime(tickMs, options.clock.monotonic());
    this.#acknowledger = new Acknowledger(options.clock, (live) => this.#write(live));
  }

  get size(): number {
    return this.#byId.size;
  }

  all(): Iterable<LiveSession> {
    return this.#byId.values();
  }

  find(sessionId: string): LiveSession | undefined {
    return this.#byId.get(sessionId);
  }

  /** The row of a session is written: it begins, or goes on, on this stream. */
  open(stream: AgentStream, first: ConnectRequest, profile: Profile, slots: number, opened: Opened): LiveSession {
    const { registryId, limits } = this.#options;
    const known = opened.previousRegistryId === registryId ? this.find(opened.previousSessionId ?? "") : undefined;
    if (known !== undefined && !opened.resumed) {
      this.end(known, "fenced", "a newer session of the agent began", fenced());
    }
    const refs = first.hello?.inFlight ?? [];
    const weight = this.weights.learn(profile, opened);
    let live: LiveSession;
    let lost: readonly Ref[] = opened.resumed ? [] : refs;
    if (known !== undefined && opened.resumed) {
      live = known;
      this.#detach(live, fenced());
      lost = live.session.resume(profile, slots, refs, this.#now());
      live.session.weight = weight;
      live.epoch = opened.epoch;
    } else {
      const session = new Session(opened.sessionId, profile, slots, weight, limits, this.#now());
      live = new LiveSession(session, opened.epoch);
      // Its Registry is gone, or it was held by another: what the agent says is believed until the Dispatcher has looked.
      if (opened.resumed) session.attempts.restore(refs);
      this.#byId.set(session.id, live);
    }
    live.session.greeted(first, welcomeOf(live.session.id, opened.resumed, lost, limits));
    if (opened.draining) live.session.drain(drainOf(opened.drainReason));
    const names = { agent_id: profile.agentId, session_id: live.session.id, resumed: opened.resumed };
    this.#options.log.debug("an agent is here", names);
    this.#bind(live, stream);
    this.homes.attach(live);
    this.deliverable(live);
    return live;
  }

  /** The agent says hello anew for a session that is here: what comes for it waits for the new stream. */
  hold(sessionId: string, { namespace, agentId }: Profile): LiveSession | undefined {
    const live = this.#byId.get(sessionId);
    if (live === undefined || live.held) return undefined;
    if (live.session.profile.agentId !== agentId || live.session.profile.namespace !== namespace) return undefined;
    live.held = true;
    return live;
  }

  /** The new hello came to nothing. */
  unhold(live: LiveSession): void {
    live.held = false;
    this.deliverable(live);
  }

  /** A frame after the first. @throws Violation */
  receive(live: LiveSession, frame: ConnectRequest): void {
    const { session } = live;
    const wasDraining = session.draining;
    const { answer, progress, offerChanged } = session.receive(frame, this.#now());
    if (answer !== undefined) this.#options.metrics.answered(answer.outcomes);
    if (answer !== undefined || progress.length > 0) this.homes.report(live, answer, progress);
    if (offerChanged) this.homes.update(live);
    if (session.draining && !wasDraining) this.#save(live);
    this.deliverable(live);
    if (live.link?.full) this.#paused.pause(live, live.link);
  }

  /** Asks the agent to finish what it has and end. */
  drain(live: LiveSession, reason: string): void {
    const dropped = live.session.drain(drainOf(reason));
    this.homes[dropped ? "attach" : "update"](live);
    this.#save(live);
    this.deliverable(live);
  }

  setWeight(key: VersionKey, weight: number, weightEpoch: bigint): void {
    this.weights.polledThrough(weightEpoch);
    const current = this.weights.learn(key, { weight, weightEpoch });
    for (const live of this.#byId.values()) {
      const { profile } = live.session;
      if (profile.version !== key.version || profile.name !== key.name || profile.namespace !== key.namespace) continue;
      if (live.session.weight === current) continue;
      live.session.weight = current;
      this.homes.update(live);
    }
  }

  /** The session is over: what the agent had received counts as begun, everything else goes back to the queue. */
  end(live: LiveSession, cause: EndCause, reason: string, error?: ConnectError): void {
    if (live.session.phase === "over") return;
    this.#detach(live, error);
    live.received = live.session.end();
    live.endReason = reason;
    const { id, profile } = live.session;
    this.#options.log.debug("a session is over", { agent_id: profile.agentId, session_id: id, cause, reason });
    this.#forget(live, cause);
    this.homes.end(live);
    this.#save(live, reason);
  }

  /** The session goes on at another Registry. */
  release(live: LiveSession): void {
    if (live.session.phase === "over") return;
    this.#detach(live, fenced());
    live.session.end();
    this.#forget(live, "moved");
    this.homes.release(live);
  }

  /** Asks the agent to go on at another Registry. */
  moveOn(live: LiveSession, reason: string): void {
    const dropped = live.session.drain(drainOf(reason, true));
    this.homes[dropped ? "attach" : "update"](live);
    this.deliverable(live);
  }

  /** This Registry goes away. A session that can be resumed may go on at any other, within its lease. */
  leave(live: LiveSession, error: ConnectError): void {
    if (!live.session.profile.resumable) {
      this.end(live, "shutdown", "its Registry went away", error);
      return;
    }
    this.#detach(live, error);
    this.#forget(live, "shutdown");
    this.homes.leave(live);
    this.#save(live, undefined, true);
  }

  /** Nothing is under way in any session. */
  get isIdle(): boolean {
    return this.#byId.values().every(({ session }) => session.attempts.size === 0);
  }

  /** Everything that depends on time. Called every `tickMs`. */
  tick(): void {
    const stoodStillMs = this.#awake.tick(this.#options.clock.monotonic());
    if (stoodStillMs > 1_000) {
      this.#options.log.warn("this process stood still; no session is ended for it", { stood_still_ms: stoodStillMs });
    }
    const nowMs = this.#now();
    for (const live of this.#byId.values()) {
      switch (live.session.due(nowMs, tickMs)) {
        case "nothing":
          break;
        case "heartbeat":
          if (live.isWritable) this.#write(live);
          break;
        case "expired":
          this.end(live, "expired", "nothing was heard from it for the length of its lease", expired("heard"));
          break;
        case "deaf":
          this.end(live, "deaf", "it acknowledged nothing for the length of its lease", expired("acknowledged"));
          break;
        default:
          throw new Error("unknown duty");
      }
    }
  }

  deliverable(live: LiveSession): void {
    while (live.session.hasFrame && live.isWritable) this.#write(live);
  }

  settled(live: LiveSession): void {
    this.#acknowledger.owe(live);
  }

  drained(link: Link): void {
    this.#paused.resume(link, this.#now());
  }

  #bind(live: LiveSession, stream: AgentStream): void {
    live.stream = stream;
    live.blocked = live.held = false;
    stream.onDrain(() => {
      if (live.stream !== stream) return;
      live.blocked = false;
      this.deliverable(live);
    });
    stream.onEnd(() => {
      if (live.stream !== stream) return;
      const { draining, profile } = live.session;
      if (draining || !profile.resumable) {
        this.end(live, "closed", "the agent ended its stream");
        return;
      }
      // It has not said that it stops. Some clients that drop a stream end it in order first and reset it later, and those come back.
      stream.end();
      this.#broken(live, undefined);
    });
    stream.onClose((error) => {
      if (live.stream === stream) this.#broken(live, error);
    });
  }

  #broken(live: LiveSession, error: ConnectError | undefined): void {
    const { session } = live;
    live.stream = undefined;
    this.#paused.forget(live);
    if (!session.profile.resumable || session.phase !== "active") {
      this.end(live, "broken", `its stream broke: ${error?.rawMessage ?? "ended"}`);
      return;
    }
    const dropped = session.suspend(this.#now());
    if (dropped) this.homes.attach(live);
    else this.homes.update(live);
    this.#save(live);
  }

  /** Ends the stream, in order if there is no error to tell. */
  #detach(live: LiveSession, error: ConnectError | undefined): void {
    const { stream } = live;
    live.stream = undefined;
    live.blocked = live.held = false;
    this.#paused.forget(live);
    this.#acknowledger.forget(live);
    if (error === undefined) stream?.end();
    else stream?.fail(error);
  }

  #forget(live: LiveSession, cause: EndCause): void {
    if (this.#byId.get(live.session.id) === live) this.#byId.delete(live.session.id);
    this.#options.metrics.ended(cause);
  }

  #write(live: LiveSession): void {
    const frame = live.session.nextFrame(this.#now());
    this.#options.metrics.sent(frame);
    live.blocked = live.stream?.write(frame) === false;
    if (frame.assignments.length > 0) endDeliveries(frame.assignments);
  }

  #save(live: LiveSession, endReason?: string, suspended = live.session.phase === "suspended"): void {
    const { session, epoch } = live;
    const { namespace, agentId } = session.profile;
    const { draining } = session;
    this.#options.store.save({ namespace, agentId, sessionId: session.id, epoch, suspended, draining, endReason });
  }

  #now(): number {
    return this.#awake.at(this.#options.clock.monotonic());
  }
}
