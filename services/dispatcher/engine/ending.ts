import type { Route } from "../core/route.ts";

/** An attempt as far as ending it goes; a `Lease` is one. */
export interface Ending {
  readonly taskKey: number;
  readonly segment: number;
  readonly attempt: number;
  /** Its id is not known of a session that ended before this process began. */
  readonly session: { readonly sessionKey: number; readonly agentId: string; readonly sessionId?: string };
  readonly route: Route;
  readonly rank: number;
  readonly taskName: string;
  readonly submitter: number;
  /** Where the end's span belongs; undefined: it gets none. */
  readonly traceparent?: string;
  readonly tracestate?: string;
  /** When it was leased, milliseconds, monotonic; undefined: not known here. */
  readonly startedMs?: number;
  /** When the task was accepted, milliseconds since the epoch; undefined: not known here. */
  readonly submitTimeMs?: number | undefined;
}
