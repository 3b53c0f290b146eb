import type { ConnectRequest, ConnectResponse } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { DuplexStream } from "#libs/rpc/duplex-stream.ts";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectResponseSchema } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { Ref } from "../core/attempts.ts";
import type { Session } from "../core/session.ts";
import type { Link } from "./link.ts";

export type AgentStream = DuplexStream<ConnectRequest, MessageInitShape<typeof ConnectResponseSchema>>;
export type { ConnectResponse };

/** Why a session ended, as the metrics name it. */
export type EndCause =
  "closed" | "broken" | "expired" | "deaf" | "fenced" | "moved" | "violation" | "shutdown" | "defect";

/** A session with what it hangs on: its agent's stream, and the Link to the Dispatcher that is its home. */
export class LiveSession {
  readonly session: Session;
  /** Of its row. */
  epoch: bigint;
  stream: AgentStream | undefined;
  link: Link | undefined;
  /** On its Link; 0: none yet. */
  number = 0;
  /** A Dispatcher has, or had, it. */
  wasHomed = false;
  /** The stream takes no more before it says so. */
  blocked = false;
  /** The agent has said hello on another stream, so this one gets nothing more. */
  held = false;
  /** It is over: what the agent had received, until the Dispatcher has been told. */
  received: Ref[] | undefined;
  endReason = "";

  constructor(session: Session, epoch: bigint) {
    this.session = session;
    this.epoch = epoch;
  }

  /** A frame may be written. */
  get isWritable(): boolean {
    return this.stream !== undefined && !this.blocked && !this.held;
  }
}
