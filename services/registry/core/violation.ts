/** A frame that breaks the protocol: the stream ends with INVALID_ARGUMENT, and its session with it. */
export class Violation extends Error {
  readonly reason: "HELLO_EXPECTED" | "HELLO_REPEATED" | "INVALID_REQUEST" | "PROTOCOL_VIOLATION";
  /** Where, in the frame, in proto spelling. */
  readonly field: string;

  constructor(reason: Violation["reason"], field: string, message: string) {
    super(message);
    this.reason = reason;
    this.field = field;
  }
}
