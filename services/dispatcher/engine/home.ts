import type { Clock } from "#libs/clock/clock.ts";
import type { AttemptRef } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { SessionAttach, SessionEnd } from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import { Batcher } from "#libs/db/batcher.ts";
import { retryWhileDisconnected } from "#libs/db/connection-failure.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Matcher } from "../core/matcher.ts";
import { decideLoss, decideUnreceived } from "../core/outcomes.ts";
import { attachSessions } from "../sql/attach-sessions.ts";
import { adoptLeases, leasesOfSession, type LeaseRow } from "../sql/find-leases.ts";
import type { Finisher, Followed } from "./finisher.ts";
import type { InputSchemas } from "./input-schemas.ts";
import { decodeSpec, type LeaseBook } from "./lease-book.ts";
import type { RouteTable } from "./route-table.ts";
import { HomeSession, taskName, type SessionOutlet } from "./session.ts";

export interface HomeParts {
  readonly pool: ConnectionPool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly matcher: Matcher<HomeSession>;
  readonly leases: LeaseBook;
  readonly finisher: Finisher;
  readonly routes: RouteTable;
  readonly schemas: InputSchemas;
  readonly instanceKey: number;
  readonly signal: AbortSignal;
  /** A session has slots to give. */
  onReady(session: HomeSession): void;
}

interface Arrival {
  readonly attach: SessionAttach;
  readonly outlet: SessionOutlet;
}

interface Arrived {
  readonly session: HomeSession;
  readonly rows: LeaseRow[];
  readonly ending: Followed;
}

/** The sessions whose home this instance is: how they come, and what becomes of their leases when they go. */
export class Home {
  readonly #parts: HomeParts;
  /** By key. */
  readonly #sessions = new Map<number, HomeSession>();
  readonly #byId = new Map<string, HomeSession>();
  /** The last attach of a session that is under way, by its id. */
  readonly #attaching = new Map<string, Promise<unknown>>();
  /** Since when sessions are away whose link was lost or that are just arriving, by key; milliseconds, monotonic. */
  readonly #away = new Map<number, number>();
  readonly #batcher: Batcher<Arrival, Arrived>;

  constructor(parts: HomeParts) {
    this.#parts = parts;
    this.#batcher = new Batcher({ maxItems: 500, run: (arrivals) => this.#arrive(arrivals) });
  }

  sessions(): Iterable<HomeSession> {
    return this.#sessions.values();
  }

  /** For how long a session has been away: 0 while it is attached, infinite if it is not known here. */
  absenceMs(sessionKey: number): number {
    if (this.#sessions.has(sessionKey)) return 0;
    const sinceMs = this.#away.get(sessionKey);
    return sinceMs === undefined ? Infinity : Math.max(1, this.#parts.clock.monotonic() - sinceMs);
  }

  /** Forgets those that have been away for so long that it makes no difference. */
  forgetAway(longerThanMs: number): void {
    const beforeMs = this.#parts.clock.monotonic() - longerThanMs;
    for (const [sessionKey, sinceMs] of this.#away) if (sinceMs < beforeMs) this.#away.delete(sessionKey);
  }

  /**
   * Makes this instance a session's home, also anew: then it is as if its link had been lost in between. What the session
   * holds goes on; what else is leased to it goes back.
   * @returns the session, and what of `in_flight` is not its own any more.
   */
  attach(attach: SessionAttach, outlet: SessionOutlet): Promise<{ session: HomeSession; lost: AttemptRef[] }> {
    const { sessionId } = attach;
    const before = this.#byId.get(sessionId);
    if (before !== undefined) this.suspend(before);
    const attached = (this.#attaching.get(sessionId) ?? Promise.resolve()).then(() => this.#attach(attach, outlet));
    const settled = attached.then(ignore, ignore).then(() => {
      if (this.#attaching.get(sessionId) === settled) this.#attaching.delete(sessionId);
    });
    this.#attaching.set(sessionId, settled);
    return attached;
  }

  async #attach(attach: SessionAttach, outlet: SessionOutlet): Promise<{ session: HomeSession; lost: AttemptRef[] }> {
    const { schemas, matcher, signal } = this.#parts;
    const before = this.#byId.get(attach.sessionId);
    if (before !== undefined) this.suspend(before);
    const { session, rows, ending } = await this.#batcher.add({ attach, outlet });
    using _until = ending;
    for (const { name, inputSchema } of attach.capabilities) {
      await retryWhileDisconnected(() => schemas.declare(attach.namespace, name, inputSchema), { signal });
    }
    const held = new Map(attach.inFlight.map((ref) => [ref.taskId, ref]));
    // What goes back is in the queue, in its old place, before the session takes from there.
    await Promise.all(rows.map((row) => this.#adopt(session, row, held, ending)));
    this.#sessions.set(session.sessionKey, session);
    this.#byId.set(session.sessionId, session);
    this.#away.delete(session.sessionKey);
    matcher.add(session);
    if (session.slots > 0) this.#parts.onReady(session);
    return { session, lost: [...held.values()] };
  }

  /** The session's link is gone. Its Registry will attach it again, here or elsewhere, or end it. */
  suspend(session: HomeSession): void {
    if (!this.#remove(session)) return;
    this.#away.set(session.sessionKey, this.#parts.clock.monotonic());
    // Whoever becomes the home reads them from the database.
    this.#parts.leases.closeSession(session);
  }

  /** The session is over: what its agent had received is rescued, what it had not goes back as it was. */
  end(session: HomeSession, end: SessionEnd): void {
    if (!this.#remove(session)) return;
    const received = new Set(end.received.map(({ taskId, attempt }) => `${attempt}\n${taskId}`));
    for (const lease of this.#parts.leases.closeSession(session)) {
      const wasReceived = end.receivedUnknown || received.has(`${lease.attempt}\n${lease.taskId}`);
      this.#parts.finisher.finish(lease, wasReceived ? decideLoss(lease, end.reason) : decideUnreceived(lease));
    }
  }

  /** Ends a session that is attached nowhere: all that it left counts as received, unless it is said what was. */
  async endUnattached(end: SessionEnd): Promise<void> {
    const { pool, signal, finisher } = this.#parts;
    const session = this.#byId.get(end.sessionId);
    if (session !== undefined) return this.end(session, end);
    using ending = finisher.follow();
    const rows = await retryWhileDisconnected(() => leasesOfSession(pool, end.sessionId), { signal });
    const received = new Set(end.received.map(({ taskId, attempt }) => `${attempt}\n${taskId}`));
    const left = rows.filter(({ taskKey }) => !ending.has(taskKey));
    await Promise.all(
      left.map((row) => {
        const { taskId } = decodeSpec(row.spec);
        const wasReceived = end.receivedUnknown || received.has(`${row.attempt}\n${taskId}`);
        return this.rescue(row, wasReceived ? end.reason : undefined);
      }),
    );
  }

  /**
   * Resolves a lease that nobody holds; done when that is committed.
   * @param lostBecause why its agent was lost; undefined: the agent never received it.
   */
  async rescue(row: LeaseRow, lostBecause: string | undefined): Promise<void> {
    const spec = decodeSpec(row.spec);
    const route = await this.#parts.routes.of(spec);
    const facts = { attempt: row.attempt, retryPolicy: spec.retryPolicy, cancelReason: row.cancelReason ?? undefined };
    const ending = {
      taskKey: row.taskKey,
      segment: row.segment,
      attempt: row.attempt,
      session: { sessionKey: row.sessionKey, agentId: "" },
      route,
      rank: -spec.priority,
      taskName: taskName(spec.namespace, spec.taskId),
      submitter: row.submitter,
    };
    const decision = lostBecause === undefined ? decideUnreceived(facts) : decideLoss(facts, lostBecause);
    await new Promise<void>((resolve) => this.#parts.finisher.finish(ending, decision, () => resolve()));
  }

  #remove(session: HomeSession): boolean {
    if (!session.open) return false;
    session.open = false;
    if (this.#sessions.get(session.sessionKey) === session) this.#sessions.delete(session.sessionKey);
    if (this.#byId.get(session.sessionId) === session) this.#byId.delete(session.sessionId);
    this.#parts.matcher.remove(session);
    return true;
  }

  async #adopt(session: HomeSession, row: LeaseRow, held: Map<string, AttemptRef>, ending: Followed): Promise<void> {
    const spec = decodeSpec(row.spec);
    const route = await this.#parts.routes.of(spec);
    const isHeld = held.get(spec.taskId)?.attempt === row.attempt;
    if (isHeld) held.delete(spec.taskId);
    // Its outcome came before and is being recorded: nothing is left to be done for it.
    if (ending.has(row.taskKey)) return;
    if (!isHeld) return this.rescue(row, undefined);
    this.#parts.matcher.occupy(session, spec.capability);
    const lease = this.#parts.leases.open(session, spec, {
      taskKey: row.taskKey,
      segment: row.segment,
      attempt: row.attempt,
      rank: -spec.priority,
      submitter: row.submitter,
      route,
      ageMs: row.ageMs,
      cancelReason: row.cancelReason ?? undefined,
    });
    if (lease.cancelReason !== undefined) {
      const { taskId, attempt } = lease;
      session.outlet.cancel(session, { taskId, attempt, cause: 1, reason: lease.cancelReason });
    }
  }

  async #arrive(arrivals: Arrival[]): Promise<Arrived[]> {
    const { pool, instanceKey, signal, finisher } = this.#parts;
    const ending = finisher.follow();
    let adopting = arrivals.length;
    // One for all, until the last of them has adopted its leases.
    const shared: Followed = {
      has: (taskKey) => ending.has(taskKey),
      [Symbol.dispose]: () => {
        if (--adopting === 0) ending[Symbol.dispose]();
      },
    };
    const attaches = arrivals.map(({ attach }) => attach);
    // The last attach of a session is the one that holds; one statement must not have a session twice.
    const rows = [...new Map(attaches.map((attach) => [attach.sessionId, attach])).values()];
    const keys = await retryWhileDisconnected(() => attachSessions(pool, rows), { signal });
    const old = [...keys.values()].filter(({ isNew }) => !isNew).map(({ sessionKey }) => sessionKey);
    const nowMs = this.#parts.clock.monotonic();
    for (const key of old) if (!this.#away.has(key)) this.#away.set(key, nowMs);
    const leases =
      old.length === 0 ? [] : await retryWhileDisconnected(() => adoptLeases(pool, old, instanceKey), { signal });
    const byKey = Map.groupBy(leases, (lease) => lease.sessionKey);
    return arrivals.map(({ attach, outlet }) => {
      const { sessionKey } = keys.get(attach.sessionId)!;
      return {
        session: new HomeSession(attach, sessionKey, outlet),
        rows: byKey.get(sessionKey) ?? [],
        ending: shared,
      };
    });
  }
}

const ignore = (): void => {};
