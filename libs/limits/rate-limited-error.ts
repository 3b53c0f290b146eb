/** A call was not made, because its limit did not allow it in time. */
export class RateLimitedError extends Error {
  override readonly name = "RateLimitedError";
  readonly code = "RESOURCE_EXHAUSTED";
  /** When it would be allowed if nobody else came, in milliseconds from now. Undefined: never. */
  readonly retryDelayMs: number | undefined;

  constructor(message: string, retryDelayMs: number | undefined) {
    super(message);
    this.retryDelayMs = retryDelayMs;
  }
}
