/** A Dispatcher that could become a session's home. */
export interface Candidate {
  /** Sessions whose home it is. */
  readonly sessions: number;
  /** It has said that it is going away. */
  readonly closing: boolean;
}

/** The one with the fewest sessions. One that is going away is better than none only for those who are there already. */
export function chooseHome<T extends Candidate>(candidates: Iterable<T>): T | undefined {
  let best: T | undefined;
  for (const candidate of candidates) {
    if (!candidate.closing && (best === undefined || candidate.sessions < best.sessions)) best = candidate;
  }
  return best;
}
