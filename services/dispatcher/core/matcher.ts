import { capabilityName, hasLabels, type LabelPair } from "./route.ts";

/** What the matcher has to know of a session, and what it counts of it. */
export interface MatchedSession {
  readonly namespace: string;
  /** Name and version: the unit that weights are for. */
  readonly versionName: string;
  readonly labels: ReadonlyMap<string, string>;
  /** The session's own bound for each capability; 0: none but `slots`. */
  readonly capabilities: ReadonlyMap<string, number>;
  slots: number;
  weight: number;
  /** Slots that are taken, by capability and in all. */
  readonly taken: Map<string, number>;
  takenInAll: number;
}

/** Sessions of one version that may have a free slot for a capability; those that turn out to have none are dropped lazily. */
interface VersionPool<S> {
  weight: number;
  sessions: S[];
  next: number;
}

interface CapabilityPool<S> {
  readonly versions: Map<string, VersionPool<S>>;
  readonly listed: Set<S>;
}

/**
 * Which session takes a task: versions share by weight, sessions of a version take turns. Holds every session with its slots;
 * no I/O, and about constant time for each task, for ten thousand sessions as for one.
 */
export class Matcher<S extends MatchedSession> {
  readonly #pools = new Map<string, CapabilityPool<S>>();
  readonly #sessions = new Set<S>();
  readonly #random: () => number;

  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  add(session: S): void {
    this.#sessions.add(session);
    this.#list(session);
  }

  remove(session: S): void {
    this.#sessions.delete(session);
    for (const capability of session.capabilities.keys()) {
      const pool = this.#pools.get(capabilityName(session.namespace, capability));
      if (pool === undefined) continue;
      this.#unlist(pool, session);
      if (pool.listed.size === 0) this.#pools.delete(capabilityName(session.namespace, capability));
    }
  }

  /** To be called after `slots` or `weight` was changed. */
  changed(session: S): void {
    if (!this.#sessions.has(session)) return;
    for (const capability of session.capabilities.keys()) {
      const pool = this.#pools.get(capabilityName(session.namespace, capability));
      if (pool !== undefined) this.#unlist(pool, session);
    }
    this.#list(session);
  }

  /** Takes a slot for a task, or says that none is free. */
  take(namespace: string, capability: string, required: readonly LabelPair[]): S | undefined {
    const pool = this.#pools.get(capabilityName(namespace, capability));
    if (pool === undefined) return undefined;
    const tried = new Set<VersionPool<S>>();
    for (;;) {
      const version = this.#chooseVersion(pool, tried);
      if (version === undefined) return undefined;
      const session = this.#chooseSession(pool, version, capability, required);
      if (session !== undefined) {
        this.occupy(session, capability);
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

  /** Whether a session may have a free slot for the capability. */
  hasFree(namespace: string, capability: string): boolean {
    return (this.#pools.get(capabilityName(namespace, capability))?.listed.size ?? 0) > 0;
  }

  /** Whether any session offers the capability, with a free slot or without. */
  offers(namespace: string, capability: string, required: readonly LabelPair[] = []): boolean {
    for (const session of this.#sessions) {
      if (
        session.namespace === namespace &&
        session.capabilities.has(capability) &&
        hasLabels(session.labels, required)
      ) {
        return true;
      }
    }
    return false;
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
      if (pool === undefined) this.#pools.set(name, (pool = { versions: new Map(), listed: new Set() }));
      if (pool.listed.has(session)) continue;
      pool.listed.add(session);
      const version = pool.versions.get(session.versionName);
      if (version === undefined) {
        pool.versions.set(session.versionName, { weight: session.weight, sessions: [session], next: 0 });
      } else {
        version.weight = session.weight;
        version.sessions.push(session);
      }
    }
  }

  #unlist(pool: CapabilityPool<S>, session: S): void {
    if (!pool.listed.delete(session)) return;
    const version = pool.versions.get(session.versionName)!;
    version.sessions.splice(version.sessions.indexOf(session), 1);
    if (version.sessions.length === 0) pool.versions.delete(session.versionName);
  }

  #chooseVersion(pool: CapabilityPool<S>, tried: ReadonlySet<VersionPool<S>>): VersionPool<S> | undefined {
    let total = 0;
    let only: VersionPool<S> | undefined;
    for (const version of pool.versions.values()) {
      if (tried.has(version)) continue;
      total += version.weight;
      only = version;
    }
    if (only === undefined || total === only.weight) return only;
    let at = this.#random() * total;
    for (const version of pool.versions.values()) {
      if (tried.has(version)) continue;
      at -= version.weight;
      if (at < 0) return version;
    }
    return only;
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

function hasFreeSlot(session: MatchedSession, capability: string): boolean {
  if (session.weight === 0 || session.takenInAll >= session.slots) return false;
  const own = session.capabilities.get(capability);
  return own === undefined ? false : own === 0 || (session.taken.get(capability) ?? 0) < own;
}
