import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import type { Matcher } from "../core/matcher.ts";
import { Pace } from "../core/pace.ts";
import { capabilityName, hasLabels } from "../core/route.ts";
import type { Place } from "../core/watermark.ts";
import { claimTasks, type ClaimedTask } from "../sql/claim-tasks.ts";
import { waitingRoutes } from "../sql/routes.ts";
import type { LiveRoute, RouteTable } from "./route-table.ts";
import type { HomeSession } from "./session.ts";

const largestClaim = 256;
const claimsAtOnce = 3;

/** Gives waiting tasks to sessions as their slots get free. */
export class Assigner {
  readonly #pool: ConnectionPool;
  readonly #clock: Clock;
  readonly #routes: RouteTable;
  readonly #matcher: Matcher<HomeSession>;
  readonly #instanceKey: number;
  readonly #log: Logger;
  /** Routes with a backlog, by capability. */
  readonly #backlogs = new Map<string, Set<LiveRoute>>();
  readonly #claims = new Set<Promise<void>>();
  readonly #pace = new Pace();
  #scheduled = false;
  #closed = false;
  /** Called for each task that was leased from the queue. */
  onClaimed: (route: LiveRoute, session: HomeSession, task: ClaimedTask) => void = () => {};

  constructor(parts: {
    pool: ConnectionPool;
    clock: Clock;
    routes: RouteTable;
    matcher: Matcher<HomeSession>;
    instanceKey: number;
    log: Logger;
  }) {
    this.#pool = parts.pool;
    this.#clock = parts.clock;
    this.#routes = parts.routes;
    this.#matcher = parts.matcher;
    this.#instanceKey = parts.instanceKey;
    this.#log = parts.log;
  }

  /** Takes a slot for a task that has just come, unless others wait that it would overtake. */
  takeSlot(route: LiveRoute): HomeSession | undefined {
    if (this.#closed) return undefined;
    // With a slot for everybody who waits nobody is overtaken. Were all to queue up until the queue is seen empty, it never
    // would be while tasks keep coming.
    const passes = route.backlog && route.waiting < route.reserved + route.spare;
    if (route.backlog && !passes && this.#isBacklog(route)) return undefined;
    const session = this.#matcher.take(route.namespace, route.capability, route.requiredLabels);
    if (session === undefined) return undefined;
    if (this.#backlogs.size > 0 && this.#hasBacklogFor(session, passes ? route : undefined)) {
      this.#matcher.giveBack(session, route.capability);
      return undefined;
    }
    if (passes) route.spare--;
    return session;
  }

  /** A task was put into a route's queue. */
  queued(route: LiveRoute, place: Place): void {
    route.insertions++;
    route.waiting++;
    route.watermark.lower(place);
    this.#note(route);
  }

  /** Tasks were put into a route's queue, nobody knows how many; the first at the place given. */
  queuedSome(route: LiveRoute, place: Place): void {
    route.waiting = Infinity;
    this.queued(route, place);
  }

  /** Slots became free. */
  freed(session: HomeSession): void {
    if (this.#backlogs.size > 0 && this.#hasBacklogFor(session)) this.#schedule();
  }

  /** Gives nothing more to anybody; resolves when what was being given is given. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#claims);
  }

  /** Looks for tasks that others queued unseen; the backstop of their hints. */
  async poll(): Promise<void> {
    await this.#routes.refresh();
    const startMs = this.#clock.monotonic();
    if (this.#pace.isDue(startMs)) {
      await this.#findWaiting();
      const nowMs = this.#clock.monotonic();
      this.#pace.took(nowMs - startMs, nowMs);
    }
    for (const route of this.#routes.all()) {
      if (!route.backlog) continue;
      if (route.pace.isDue(startMs)) route.watermark.reset();
      this.#note(route);
    }
    this.#schedule();
  }

  async #findWaiting(): Promise<void> {
    const quiet = [];
    for (const route of this.#routes.all()) if (!route.backlog && !route.claiming) quiet.push(route.routeKey);
    for (const routeKey of quiet.length > 0 ? await waitingRoutes(this.#pool, quiet) : []) {
      const route = this.#routes.get(routeKey);
      if (route !== undefined) this.#suspect(route);
    }
  }

  /** Somebody else has put tasks into a route's queue, nobody knows where. */
  #suspect(route: LiveRoute): void {
    route.insertions++;
    route.waiting = Infinity;
    route.watermark.reset();
    this.#note(route);
  }

  #isBacklog(route: LiveRoute): boolean {
    // A route that was just learned of: find out first.
    this.#note(route);
    return true;
  }

  #note(route: LiveRoute): void {
    route.backlog = true;
    const name = capabilityName(route.namespace, route.capability);
    const routes = this.#backlogs.get(name);
    if (routes === undefined) this.#backlogs.set(name, new Set([route]));
    else routes.add(route);
    this.#schedule();
  }

  #clear(route: LiveRoute): void {
    route.backlog = false;
    route.spare = 0;
    const name = capabilityName(route.namespace, route.capability);
    const routes = this.#backlogs.get(name);
    routes?.delete(route);
    if (routes?.size === 0) this.#backlogs.delete(name);
  }

  #hasBacklogFor(session: HomeSession, except?: LiveRoute): boolean {
    for (const capability of session.capabilities.keys()) {
      const routes = this.#backlogs.get(capabilityName(session.namespace, capability));
      if (routes === undefined) continue;
      for (const route of routes) {
        if (route !== except && hasLabels(session.labels, route.requiredLabels)) return true;
      }
    }
    return false;
  }

  #schedule(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#startClaims();
    });
  }

  #startClaims(): void {
    if (this.#closed) return;
    for (const [name, routes] of [...this.#backlogs]) {
      for (const route of [...routes]) {
        if (this.#claims.size >= claimsAtOnce) return;
        if (route.claiming) continue;
        // Whoever was served goes to the end, so that capabilities, and routes which share sessions, take turns.
        const share = Math.max(1, Math.ceil(largestClaim / routes.size));
        const sessions = this.#takeSlots(route, share);
        if (sessions.length === 0) continue;
        routes.delete(route);
        routes.add(route);
        this.#backlogs.delete(name);
        this.#backlogs.set(name, routes);
        const claim = this.#claim(route, sessions).finally(() => this.#claims.delete(claim));
        this.#claims.add(claim);
      }
    }
  }

  #takeSlots(route: LiveRoute, most: number): HomeSession[] {
    const sessions: HomeSession[] = [];
    while (sessions.length < most) {
      const session = this.#matcher.take(route.namespace, route.capability, route.requiredLabels);
      if (session === undefined) break;
      sessions.push(session);
    }
    return sessions;
  }

  async #claim(route: LiveRoute, sessions: HomeSession[]): Promise<void> {
    route.claiming = true;
    route.reserved = sessions.length;
    route.spare = 0;
    const { insertions, watermark } = route;
    // What is not known to wait now is seen by the claim; what comes unseen while it runs makes it Infinity again.
    if (route.waiting === Infinity) route.waiting = Number.MAX_SAFE_INTEGER;
    const startMs = this.#clock.monotonic();
    const looksAtAll = watermark.isReset;
    let claimed: ClaimedTask[] = [];
    let failed = false;
    try {
      claimed = await claimTasks(this.#pool, {
        routeKey: route.routeKey,
        sessionKeys: sessions.map((session) => session.sessionKey),
        from: watermark.begin(),
        instanceKey: this.#instanceKey,
      });
    } catch (error) {
      // If it was committed all the same, the sweep for leases that nobody holds finds them. The poll tries again.
      failed = true;
      this.#log.debug("a claim failed", { err: error });
    }
    route.claiming = false;
    route.reserved = 0;
    this.#hand(route, sessions, claimed);
    if (failed) return;
    const nowMs = this.#clock.monotonic();
    if (looksAtAll) route.pace.took(nowMs - startMs, nowMs);
    const last = claimed.at(-1);
    if (last !== undefined) watermark.advance(last);
    // What others put in before the watermark is found by their hint or by the poll.
    const arrived = route.insertions - insertions;
    const left = sessions.length - claimed.length;
    if (route.waiting !== Infinity) route.waiting = left > 0 ? arrived : route.waiting - claimed.length;
    route.spare = left;
    if (left > 0 && arrived === 0) this.#clear(route);
    this.#schedule();
  }

  #hand(route: LiveRoute, sessions: HomeSession[], claimed: ClaimedTask[]): void {
    const spare = new Map<number, HomeSession[]>();
    for (const session of sessions) {
      const list = spare.get(session.sessionKey);
      if (list === undefined) spare.set(session.sessionKey, [session]);
      else list.push(session);
    }
    for (const task of claimed) {
      const session = spare.get(task.sessionKey)?.pop();
      if (session !== undefined) this.onClaimed(route, session, task);
    }
    for (const list of spare.values()) for (const session of list) this.#matcher.giveBack(session, route.capability);
  }
}
