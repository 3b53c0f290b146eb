import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { decode, encode } from "./codec.ts";
import type { DuplexStream } from "./duplex-stream.ts";
import { legionError } from "./errors.ts";
import type { Reason } from "./errors.ts";

// Past this, write() says stop. grpc-js itself takes any amount; 10,000 stuck sessions at 256 KiB are 2.5 GiB at worst.
const highWaterBytes = 256 * 1024;

/** What grpc-js calls of both sides have in common. */
export interface RawCall {
  on(event: "error" | "end", listener: () => void): unknown;
  on(event: "data", listener: (bytes: Buffer) => void): unknown;
  write(bytes: Buffer, sent: () => void): boolean;
  pause(): unknown;
  resume(): unknown;
}

export interface StreamCodec<In extends DescMessage, Out extends DescMessage> {
  incoming: In;
  outgoing: Out;
  /** The reason to end with when the peer sends bytes that are no message. */
  undecodable: Reason;
}

/** What a server's and a client's side of a stream share; the subclass knows how its side ends. */
export abstract class StreamCore<In extends DescMessage, Out extends DescMessage> implements DuplexStream<
  MessageShape<In>,
  MessageInitShape<Out>
> {
  bufferedBytes = 0;
  readonly #call: RawCall;
  readonly #codec: StreamCodec<In, Out>;
  #stopped = false;
  #ended = false;
  #closed: { error: ConnectError | undefined } | undefined;
  #onMessage: ((message: MessageShape<In>) => void) | undefined;
  #onEnd: (() => void) | undefined;
  #onDrain: (() => void) | undefined;
  readonly #onClose: ((error: ConnectError | undefined) => void)[] = [];

  constructor(call: RawCall, codec: StreamCodec<In, Out>) {
    this.#call = call;
    this.#codec = codec;
    // Every failure also arrives as the end of the call; unheard, this event would end the process.
    call.on("error", () => {});
    // Node ends a stream that was reset before it says so: wait, lest a canceled call look like one that ended in order.
    call.on("end", () => setImmediate(() => this.#peerEnded()));
  }

  /** Ends our side with OK. */
  protected abstract endCall(): void;
  /** Ends the whole call with an error. */
  protected abstract failCall(error: ConnectError): void;
  /** The peer has ended and nobody listens for it. */
  protected abstract peerEnded(): void;
  /** A listener threw: a defect of the stream's owner. */
  protected abstract defect(thrown: unknown): void;

  get writable(): boolean {
    return !this.#ended && this.#closed === undefined;
  }

  write(message: MessageInitShape<Out>): boolean {
    if (!this.writable) return false;
    let bytes: Buffer;
    try {
      bytes = encode(this.#codec.outgoing, message);
    } catch (thrown) {
      this.#ownerThrew(thrown);
      return false;
    }
    this.bufferedBytes += bytes.length;
    this.#call.write(bytes, () => this.#sent(bytes.length));
    if (this.bufferedBytes < highWaterBytes) return true;
    this.#stopped = true;
    return false;
  }

  #sent(length: number): void {
    this.bufferedBytes -= length;
    if (!this.#stopped || this.bufferedBytes > highWaterBytes / 2) return;
    this.#stopped = false;
    if (this.writable && this.#onDrain !== undefined) this.#guard(this.#onDrain);
  }

  onDrain(listener: () => void): void {
    this.#onDrain = listener;
  }

  onMessage(listener: (message: MessageShape<In>) => void): void {
    const first = this.#onMessage === undefined;
    this.#onMessage = listener;
    if (first) this.#call.on("data", (bytes: Buffer) => this.#receive(bytes));
  }

  /** Never throws: grpc-js calls from inside a promise nobody awaits, where a throw would end the process. */
  #receive(bytes: Buffer): void {
    if (this.#closed !== undefined) return;
    let message: MessageShape<In>;
    try {
      message = decode(this.#codec.incoming, bytes, this.#codec.undecodable);
    } catch (error) {
      this.fail(ConnectError.from(error));
      return;
    }
    try {
      this.#onMessage?.(message);
    } catch (thrown) {
      this.#ownerThrew(thrown);
    }
  }

  onEnd(listener: () => void): void {
    this.#onEnd = listener;
  }

  #peerEnded(): void {
    if (this.#closed !== undefined) return;
    if (this.#onEnd === undefined) this.peerEnded();
    else this.#guard(this.#onEnd);
  }

  onClose(listener: (error: ConnectError | undefined) => void): void {
    if (this.#closed === undefined) this.#onClose.push(listener);
    else queueMicrotask(() => this.#guard(() => listener(this.#closed?.error)));
  }

  pause(): void {
    this.#call.pause();
  }

  resume(): void {
    this.#call.resume();
  }

  end(): void {
    if (!this.writable) return;
    this.#ended = true;
    this.endCall();
  }

  fail(error: ConnectError): void {
    if (this.#closed !== undefined) return;
    this.failCall(error);
    this.closed(error);
  }

  /** The call is over. Only the first report counts. */
  protected closed(error: ConnectError | undefined): void {
    if (this.#closed !== undefined) return;
    this.#closed = { error };
    // Later, so that fail() called inside a listener returns before the owner's clean-up runs.
    queueMicrotask(() => {
      for (const listener of this.#onClose.splice(0)) this.#guard(() => listener(error));
    });
  }

  #guard(listener: () => void): void {
    try {
      listener();
    } catch (thrown) {
      this.#ownerThrew(thrown);
    }
  }

  #ownerThrew(thrown: unknown): void {
    if (thrown instanceof ConnectError) {
      this.fail(thrown);
      return;
    }
    this.defect(thrown);
    const error = legionError("INTERNAL", "The stream's owner failed; its log says why.");
    error.cause = thrown;
    this.fail(error);
  }
}
