import type { ConnectRequest } from "#libs/proto/legion/registry/v1/session_pb.ts";
import type { StreamContext } from "#libs/rpc/duplex-stream.ts";
import { Violation } from "../core/violation.ts";
import type { AgentStream, LiveSession } from "../engine/live-session.ts";
import type { Registry } from "../engine/registry.ts";
import { toConnectError } from "./connect-error.ts";
import { greet } from "./hello.ts";

/** The agent's stream, from its first frame to its end. */
export function connect(registry: Registry, stream: AgentStream, context: StreamContext): void {
  let live: LiveSession | undefined;
  const waiting: ConnectRequest[] = [];
  const stopWaiting = registry.expectHello(stream);
  stream.onClose(stopWaiting);
  let receive = (first: ConnectRequest): void => {
    // Whatever was read before reading stopped.
    receive = (frame) => void waiting.push(frame);
    stopWaiting();
    stream.pause();
    void greet(registry, stream, first, context).then((opened) => {
      if (opened === undefined) return;
      live = opened;
      receive = (frame) => receiveFrame(registry, opened, stream, frame);
      for (const frame of waiting) receive(frame);
      if (!live.session.readingPaused) stream.resume();
    });
  };
  stream.onMessage((frame) => {
    registry.metrics.received();
    receive(frame);
  });
}

function receiveFrame(registry: Registry, live: LiveSession, stream: AgentStream, frame: ConnectRequest): void {
  // A frame of a stream that the session has left behind.
  if (live.stream !== stream) return;
  try {
    registry.sessions.receive(live, frame);
  } catch (thrown) {
    const error = toConnectError(thrown);
    const cause = thrown instanceof Violation ? "violation" : "defect";
    if (cause === "defect")
      registry.log.error("a session failed unexpectedly", { err: thrown, session_id: live.session.id });
    registry.sessions.end(live, cause, error.rawMessage, error);
  }
}
