import type { Violation } from "./compile.ts";
import type { SchemaReason } from "./schema-error.ts";

/** What the thread is to answer. `text` is there when it does not know the schema yet. */
export interface Question {
  readonly id: number;
  readonly schema: number;
  readonly text: string | undefined;
  /** The JSON to check; undefined: only see whether the schema can be used. */
  readonly data: Uint8Array<ArrayBuffer> | undefined;
}

export interface Request {
  readonly questions: readonly Question[];
  /** Schemas that are not asked for any more. */
  readonly forget: readonly number[];
}

export interface Reply {
  readonly id: number;
  readonly violations: Violation[];
  readonly refusal: { readonly reason: SchemaReason; readonly message: string } | undefined;
}
