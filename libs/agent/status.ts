/**
 * `starting`: not welcomed yet. `active`: takes tasks. `suspended`: the stream is broken, what runs goes on, the agent tries
 * to resume its session. `draining`: takes nothing new. `stopped`: done.
 */
export type AgentState = "starting" | "active" | "suspended" | "draining" | "stopped";

/** What an agent is doing, at the moment it was asked. */
export interface AgentStatus {
  readonly state: AgentState;
  /** Since when it is in that state. */
  readonly since: Date;
  readonly namespace: string;
  readonly agentId: string;
  readonly name: string;
  readonly version: string;
  /** The present session, or the last; empty before the first. */
  readonly sessionId: string;
  /** How many tasks it takes at once. */
  readonly slots: number;
  /** Tasks that it holds and has not answered. */
  readonly inFlight: number;
  /** Answers that the mesh has not recorded yet. */
  readonly unacknowledged: number;
  /** Answers since it started, by kind; those are included that the mesh did not record. */
  readonly completed: number;
  readonly failed: number;
  readonly canceled: number;
}
