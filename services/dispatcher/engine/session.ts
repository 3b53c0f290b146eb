import type { Capability } from "#libs/proto/legion/registry/v1/capability_pb.ts";
import type { SessionAttach } from "#libs/proto/legion/dispatcher/v1/link_service_pb.ts";
import type { RetryPolicy } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type {
  Assignment,
  CancelAttemptSchema,
  OutcomeRejectionSchema,
} from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { MatchedSession } from "../core/matched-session.ts";
import { labelPairs, type Route } from "../core/route.ts";

/** The way to a session's agent. */
export interface SessionOutlet {
  assign(session: HomeSession, assignment: Assignment): void;
  cancel(session: HomeSession, cancel: MessageInitShape<typeof CancelAttemptSchema>): void;
  reject(session: HomeSession, rejection: MessageInitShape<typeof OutcomeRejectionSchema>): void;
}

/** An attempt that a session of this instance holds. */
export interface Lease {
  readonly taskKey: number;
  readonly segment: number;
  readonly attempt: number;
  readonly session: HomeSession;
  readonly route: Route;
  readonly rank: number;
  readonly taskId: string;
  /** Namespace and id, as `taskName` makes it. */
  readonly taskName: string;
  readonly submitter: number;
  readonly retryPolicy: RetryPolicy | undefined;
  readonly executionTimeoutMs: number | undefined;
  readonly traceparent: string;
  readonly tracestate: string;
  /** When it was leased, milliseconds by this process's monotonic clock. */
  readonly startedMs: number;
  /** When the task was accepted, milliseconds since the epoch; undefined of one that another instance had leased. */
  readonly submitTimeMs: number | undefined;
  cancelReason: string | undefined;
  timer: Disposable | undefined;
}

/** A session whose home this instance is. */
export class HomeSession implements MatchedSession {
  /** The session's number on its link. */
  readonly handle: number;
  readonly sessionKey: number;
  readonly sessionId: string;
  readonly namespace: string;
  readonly agentId: string;
  readonly name: string;
  readonly version: string;
  readonly versionName: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly capabilities: ReadonlyMap<string, number>;
  readonly outlet: SessionOutlet;
  readonly taken = new Map<string, number>();
  takenInAll = 0;
  slots: number;
  weight: number;
  /** False once it has ended or its link is lost. */
  open = true;
  /** By task id. */
  readonly leases = new Map<string, Lease>();
  /** Attempts that were counted as failed already and whose slot the agent has not freed yet, by task id and attempt. */
  readonly overdue = new Map<string, Lease>();

  constructor(attach: SessionAttach, sessionKey: number, outlet: SessionOutlet) {
    this.handle = attach.session;
    this.sessionKey = sessionKey;
    this.sessionId = attach.sessionId;
    this.namespace = attach.namespace;
    this.agentId = attach.agentId;
    this.name = attach.name;
    this.version = attach.version;
    this.versionName = `${attach.name}\n${attach.version}`;
    this.labels = new Map(labelPairs(attach.labels));
    this.capabilities = new Map(attach.capabilities.map(({ name, slots }: Capability) => [name, slots]));
    this.outlet = outlet;
    this.slots = attach.slots;
    this.weight = attach.weight;
  }
}

/** A task's name in maps. */
export function taskName(namespace: string, taskId: string): string {
  return `${namespace}\n${taskId}`;
}

export function overdueName(taskId: string, attempt: number): string {
  return `${attempt}\n${taskId}`;
}
