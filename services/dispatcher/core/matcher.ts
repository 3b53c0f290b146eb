import { systemClock } from "#libs/clock/clock.ts";
import { canDo, hasFreeSlot, type MatchedSession } from "./matched-session.ts";
import { capabilityName, hasLabels, type LabelPair } from "./route.ts";
import { nameOf, Shares } from "./shares.ts";

/** Sessions of one version that may have a free slot for a capability; those that turn out to have none are dropped lazily. */
interface VersionPool<S> {
  readonly name: string;
  readonly shares: Shares<S>;
  weight: number;
  sessions: S[];
  next: number;
}

interface CapabilityPool<S> {
  /** By name and version. */
  readonly versions: Map<string, VersionPool<S>>;
  /** By name. */
  readonly shares: Map<string, Shares<S>>;
  readonly listed: Set<S>;
}

/**
 * Which session takes a task: names share by weight, versions of a name as `Shares` says, sessions of a version take turns. Holds every session with its slots;
 * no I/O, and about constant time for each task, for ten thousand sessions as for one.
 */
export class Matcher<S extends MatchedSession> {
  readonly #pools = new Map<string, CapabilityPool<S>>();
  readonly #sessions = new Set<S>();
  readonly #random: () => number;
  readonly #now: () => number;

  /** @param now milliseconds of a monotonic clock. */
  constructor(random: () => number = Math.random, now: () => number = () => systemClock.monotonic()) {
    this.#random = random;
    this.#now = now;
  }

  add(session: S): void {
    this.#sessions.add(session);
    this.#offer(session);
    this.#list(session);
  }

  remove(session: S): void {
    this.#sessions.delete(session);
    for (const capability of session.capabilities.keys()) {
      const pool = this.#pools.get(capabilityName(session.namespace, capability));
      if (pool === undefined) continue;
      this.#unlist(pool, session);
      this.#retract(pool, session);
      if (pool.shares.size === 0) this.#pools.delete(capabilityName(session.namespace, capability));
    }
  }

  /** To be called after `slots` or `weight` was changed. */
  changed(session: S): void {
    if (!this.#sessions.has(session)) return;
    for (const capability of session.capabilities.keys()) {
      const pool = this.#pools.get(capabilityName(session.namespace, capability));
      if (pool === undefined) continue;
      this.#unlist(pool, session);
      this.#retract(pool, session);
    }
    this.#offer(session);
    this.#list(session);
  }

  /** Takes a slot for a task, or says that there is none for it: none is free, or only such as others are to be waited for. */
  take(namespace: string, capability: string, required: readonly LabelPair[]): S | undefined {
    const pool = this.#pools.get(capabilityName(namespace, capability));
    if (pool === undefined) return undefined;
    const tried = new Set<VersionPool<S>>();
    for (;;) {
      const version = this.#chooseVersion(pool, tried, required);
      if (version === undefined) return undefined;
      const session = this.#chooseSession(pool, version, capability, required);
      if (session !== undefined) {
        this.occupy(session, capability);
        version.shares.took(session.versionName);
        return session;
      }
      tried.add(version);
    }
  }

  /** Counts a slot as taken whether or not it is free: for what a session already holds. */
  occupy(session: S, capability: string): void {
    session.takenInAll++;
    session.taken.set(capability, (session.taken.get(capability) ?? 0) + 1);
  }

  release(session: S, capability: string): void {
    session.takenInAll--;
    session.taken.set(capability, (session.taken.get(capability) ?? 1) - 1);
    if (this.#sessions.has(session)) this.#list(session);
  }

  /** The same for a slot that was taken for a task which needs it no more, or never did: it does not count as the version's share. */
  giveBack(session: S, capability: string): void {
    const pool = this.#pools.get(capabilityName(session.namespace, capability));
    pool?.shares.get(nameOf(session.versionName))?.gaveBack(session.versionName);
    this.release(session, capability);
  }

  /** Whether a session may have a free slot for the capability, and may be given a task. */
  hasFree(namespace: string, capability: string): boolean {
    const pool = this.#pools.get(capabilityName(namespace, capability));
    return pool !== undefined && this.#chooseVersion(pool, new Set(), []) !== undefined;
  }

  /** Whether any session offers the capability, with a free slot or without. */
  offers(namespace: string, capability: string, required: readonly LabelPair[] = []): boolean {
    return this.#sessions.values().some((session) => canDo(session, namespace, capability, required));
  }

  /** Whether any session that offers the capability is given work at all, as soon as it has a free slot. */
  isServed(namespace: string, capability: string, required: readonly LabelPair[]): boolean {
    const working = this.#sessions.values().filter(({ weight, slots }) => weight > 0 && slots > 0);
    return working.some((session) => canDo(session, namespace, capability, required));
  }

  /** How many sessions that take work offer each capability, those of all namespaces together. */
  sessionsByCapability(): Map<string, number> {
    const sessions = new Map<string, number>();
    for (const { slots, weight, capabilities } of this.#sessions) {
      if (slots === 0 || weight === 0) continue;
      for (const capability of capabilities.keys()) sessions.set(capability, (sessions.get(capability) ?? 0) + 1);
    }
    return sessions;
  }

  /** Slots of all sessions, and those that are taken. */
  totals(): { slots: number; taken: number } {
    let slots = 0;
    let taken = 0;
    for (const session of this.#sessions) {
      slots += session.slots;
      taken += session.takenInAll;
    }
    return { slots, taken };
  }

  #list(session: S): void {
    if (session.weight === 0 || session.takenInAll >= session.slots) return;
    for (const capability of session.capabilities.keys()) {
      if (!hasFreeSlot(session, capability)) continue;
      const name = capabilityName(session.namespace, capability);
      let pool = this.#pools.get(name);
      if (pool === undefined) this.#pools.set(name, (pool = newPool()));
      if (pool.listed.has(session)) continue;
      pool.listed.add(session);
      const version = pool.versions.get(session.versionName);
      if (version === undefined) {
        const shares = pool.shares.get(nameOf(session.versionName)) ?? new Shares<S>(this.#now, this.#random);
        pool.versions.set(session.versionName, {
          name: nameOf(session.versionName),
          shares,
          weight: session.weight,
          sessions: [session],
          next: 0,
        });
      } else {
        version.weight = session.weight;
        version.sessions.push(session);
      }
    }
  }

  /** It takes work, now or as soon as it has a free slot. */
  #offer(session: S): void {
    if (session.weight === 0 || session.slots === 0) return;
    for (const capability of session.capabilities.keys()) {
      const key = capabilityName(session.namespace, capability);
      let pool = this.#pools.get(key);
      if (pool === undefined) this.#pools.set(key, (pool = newPool()));
      const name = nameOf(session.versionName);
      let shares = pool.shares.get(name);
      if (shares === undefined) pool.shares.set(name, (shares = new Shares<S>(this.#now, this.#random)));
      shares.offer(session.versionName, session.weight, session);
    }
  }

  #retract(pool: CapabilityPool<S>, session: S): void {
    const name = nameOf(session.versionName);
    const shares = pool.shares.get(name);
    shares?.retract(session.versionName, session);
    if (shares?.isEmpty) pool.shares.delete(name);
  }

  #unlist(pool: CapabilityPool<S>, session: S): void {
    if (!pool.listed.delete(session)) return;
    const version = pool.versions.get(session.versionName)!;
    version.sessions.splice(version.sessions.indexOf(session), 1);
    if (version.sessions.length === 0) pool.versions.delete(session.versionName);
  }

  #chooseVersion(
    pool: CapabilityPool<S>,
    tried: ReadonlySet<VersionPool<S>>,
    required: readonly LabelPair[],
  ): VersionPool<S> | undefined {
    const canDoIt = (session: S) => hasLabels(session.labels, required);
    // The usual case, without an allocation more.
    if (pool.versions.size === 1) {
      for (const [versionName, version] of pool.versions) {
        return tried.has(version) || version.shares.isHeldBack(versionName, canDoIt) ? undefined : version;
      }
    }
    let total = 0;
    let only: string | undefined;
    let names = 0;
    const eligible: VersionPool<S>[] = [];
    for (const [versionName, version] of pool.versions) {
      if (tried.has(version) || version.shares.isHeldBack(versionName, canDoIt)) continue;
      eligible.push(version);
      total += version.weight;
      if (version.name !== only) names++;
      only = version.name;
    }
    if (eligible.length <= 1) return eligible[0];
    let chosen = only;
    if (names > 1) {
      let at = this.#random() * total;
      for (const { name, weight } of eligible) {
        at -= weight;
        if (at >= 0) continue;
        chosen = name;
        break;
      }
    }
    let next: VersionPool<S> | undefined;
    let soonest = Infinity;
    for (const version of eligible) {
      if (version.name !== chosen) continue;
      const turn = version.shares.turn(version.sessions[0]!.versionName);
      if (next !== undefined && turn >= soonest) continue;
      next = version;
      soonest = turn;
    }
    return next;
  }

  #chooseSession(
    pool: CapabilityPool<S>,
    version: VersionPool<S>,
    capability: string,
    required: readonly LabelPair[],
  ): S | undefined {
    const { sessions } = version;
    // Of those looked at, how many are at the end of the list, behind the one that was the first.
    let atEnd = 0;
    for (let looked = 0; looked < sessions.length;) {
      if (version.next >= sessions.length) {
        version.next = 0;
        atEnd = looked;
      }
      const session = sessions[version.next]!;
      if (!hasFreeSlot(session, capability)) {
        // The last one takes its place, so that dropping is cheap; if it was looked at, it will be once more.
        sessions[version.next] = sessions.at(-1)!;
        sessions.pop();
        pool.listed.delete(session);
        if (atEnd > 0) {
          atEnd--;
          looked--;
        }
        continue;
      }
      version.next++;
      if (hasLabels(session.labels, required)) return session;
      looked++;
    }
    if (sessions.length === 0) {
      for (const [name, candidate] of pool.versions) if (candidate === version) pool.versions.delete(name);
    }
    return undefined;
  }
}

function newPool<S>(): CapabilityPool<S> {
  return { versions: new Map(), shares: new Map(), listed: new Set() };
}
