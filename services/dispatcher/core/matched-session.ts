import { hasLabels, type LabelPair } from "./route.ts";

/** What the matcher has to know of a session, and what it counts of it. */
export interface MatchedSession {
  readonly namespace: string;
  /** Name and version, with a line break between: the unit that weights are for. Without one it is the only version. */
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

/** Whether it offers the capability, with a free slot or without. */
export function canDo(
  session: MatchedSession,
  namespace: string,
  capability: string,
  required: readonly LabelPair[],
): boolean {
  return session.namespace === namespace && session.capabilities.has(capability) && hasLabels(session.labels, required);
}

/** Whether it may be given a task for the capability now. */
export function hasFreeSlot(session: MatchedSession, capability: string): boolean {
  if (session.weight === 0 || session.takenInAll >= session.slots) return false;
  const own = session.capabilities.get(capability);
  return own === undefined ? false : own === 0 || (session.taken.get(capability) ?? 0) < own;
}
