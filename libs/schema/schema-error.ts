export type SchemaReason = "SCHEMA_INVALID" | "SCHEMA_TOO_LARGE" | "SCHEMA_REMOTE" | "SCHEMA_TOO_SLOW";

/** A JSON Schema that is refused. The message says what is wrong, for whoever wrote it. */
export class SchemaError extends Error {
  readonly reason: SchemaReason;

  constructor(reason: SchemaReason, message: string) {
    super(message);
    this.reason = reason;
  }
}
