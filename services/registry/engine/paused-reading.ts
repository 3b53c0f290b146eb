import type { Link } from "./link.ts";
import type { LiveSession } from "./live-session.ts";

/** Agents that are not read from, because their Dispatcher takes no more of what they send. */
export class PausedReading {
  readonly #paused = new Map<LiveSession, Link>();

  pause(live: LiveSession, link: Link): void {
    live.stream?.pause();
    live.session.readingPaused = true;
    this.#paused.set(live, link);
  }

  /** The Dispatcher takes data again, or the Link to it is gone. */
  resume(link: Link, nowMs: number): void {
    for (const [live, pausedFor] of this.#paused) {
      if (pausedFor !== link) continue;
      this.#paused.delete(live);
      live.session.readingResumed(nowMs);
      live.stream?.resume();
    }
  }

  /** Its stream is gone. */
  forget(live: LiveSession): void {
    this.#paused.delete(live);
  }
}
