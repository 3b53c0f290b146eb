/** A version of a name, as far as it offers one capability. */
interface Share<S> {
  weight: number;
  /** Its sessions that take work at all, with a free slot or without. */
  readonly sessions: Set<S>;
  /** Tasks it was given, divided by its weight: versions that have had their share stand at the same place, on average. */
  place: number;
  /** How far its next task brings it: 0 to 2 divided by its weight, 1 on average. */
  step: number;
  /** When it was given the last one. */
  servedMs: number;
}

/**
 * For so long a version that has had its share waits for one with a larger share to have a free slot. Long enough that shares
 * hold whenever tasks come and go; and a version whose slots are all taken by long tasks does not keep another idle.
 */
const patienceMs = 1_000;

/**
 * How the versions of one name share the tasks of one capability. Of versions with a free slot the one that is furthest behind
 * its share comes first, by steps of random length: if a canary got every tenth task exactly, and every tenth were a hard one, it
 * would look slow. A version with a smaller weight than another never gets more than its share, also while only it has
 * free slots: a new version is tried with 10 % of the work however busy the old one is. The largest is never held up by the
 * others, and nobody saves up: what a version could not take while it was busy it does not get afterwards.
 */
export class Shares<S> {
  readonly #versions = new Map<string, Share<S>>();
  readonly #now: () => number;
  readonly #random: () => number;

  /** @param now milliseconds of a monotonic clock. */
  constructor(now: () => number, random: () => number) {
    this.#now = now;
    this.#random = random;
  }

  get isEmpty(): boolean {
    return this.#versions.size === 0;
  }

  /** A session takes work. */
  offer(version: string, weight: number, session: S): void {
    let share = this.#versions.get(version);
    if (share === undefined) {
      // It begins where the others stand.
      const place = Math.max(0, ...Array.from(this.#versions.values(), (other) => other.place));
      this.#versions.set(version, (share = { weight, sessions: new Set(), place, step: 0, servedMs: this.#now() }));
    }
    if (share.weight !== weight || share.step === 0) share.step = this.#step(weight);
    share.weight = weight;
    share.sessions.add(session);
  }

  /** It takes none any more. */
  retract(version: string, session: S): void {
    const share = this.#versions.get(version);
    share?.sessions.delete(session);
    if (share?.sessions.size === 0) this.#versions.delete(version);
  }

  /** The smaller, the sooner it is the version's turn. */
  turn(version: string): number {
    const share = this.#versions.get(version);
    return share === undefined ? Infinity : share.place + share.step;
  }

  /** Whether a version has had its share, and others that have not can do the task as soon as they have a free slot. */
  isHeldBack(version: string, canDoIt: (session: S) => boolean): boolean {
    if (this.#versions.size < 2) return false;
    const share = this.#versions.get(version);
    if (share === undefined) return false;
    let nowMs: number | undefined;
    for (const other of this.#versions.values()) {
      if (other.weight <= share.weight || other.place >= share.place) continue;
      if (other.servedMs < (nowMs ??= this.#now()) - patienceMs) continue;
      for (const session of other.sessions) if (canDoIt(session)) return true;
    }
    return false;
  }

  took(version: string): void {
    const share = this.#versions.get(version);
    if (share === undefined || this.#versions.size < 2) return;
    for (const other of this.#versions.values()) {
      if (other !== share) other.place = Math.max(other.place, share.place - other.step);
    }
    share.place += share.step;
    share.step = this.#step(share.weight);
    share.servedMs = this.#now();
  }

  #step(weight: number): number {
    return (2 * this.#random()) / weight;
  }

  /** What it took it does not need after all. */
  gaveBack(version: string): void {
    const share = this.#versions.get(version);
    if (share !== undefined && this.#versions.size > 1) share.place -= 1 / share.weight;
  }
}

/** The name of a version's name and version, which a line break is between; without one it is a name itself. */
export function nameOf(versionName: string): string {
  const end = versionName.lastIndexOf("\n");
  return end < 0 ? versionName : versionName.slice(0, end);
}
