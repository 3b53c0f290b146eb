import type { ConnectError } from "@connectrpc/connect";

/**
 * One side of a bidirectional stream: receives `In`, sends `Out`. Nothing is read before `onMessage` is set. What a
 * listener throws ends the stream with INTERNAL and reaches nobody else.
 */
export interface DuplexStream<In, Out> {
  /**
   * Sends a message. False means that more than the high-water mark waits to be sent: go on after `onDrain`. The
   * message is taken all the same, unless the stream is over: then it is dropped and false is returned.
   */
  write(message: Out): boolean;
  /** Bytes written that the transport has not taken yet. */
  readonly bufferedBytes: number;
  /** False once `end` or `fail` was called, or the stream closed. */
  readonly writable: boolean;
  /** Called when, after a false `write`, half of the high-water mark is free again. */
  onDrain(listener: () => void): void;
  onMessage(listener: (message: In) => void): void;
  /** The peer sends no more. A server that sets no listener ends its own side then. */
  onEnd(listener: () => void): void;
  /**
   * The stream is over, told once, whatever happened; undefined when both sides ended in order. A listener set later
   * is told as well. Any number of them.
   */
  onClose(listener: (error: ConnectError | undefined) => void): void;
  /** Stops reading: once 16 messages wait here and the flow-control window is full, the peer's writes wait there. */
  pause(): void;
  resume(): void;
  /** No more will be sent. On a server this ends the stream with OK once everything written is out. */
  end(): void;
  /**
   * Ends the stream with an error: a server sends it as the status, a client cancels. No message is delivered after it,
   * and `onClose` is told this error.
   */
  fail(error: ConnectError): void;
}

/** What a client gets: it sends requests and receives responses. */
export type ClientStream<Req, Res> = DuplexStream<Res, Req>;

export interface StreamContext {
  readonly requestHeader: Headers;
  /** The caller's address and port. */
  readonly peer: string;
  /** Aborts when the stream closes. */
  readonly signal: AbortSignal;
}
