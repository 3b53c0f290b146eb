import type { Violation } from "./compile.ts";
import { inspectSchema } from "./inspect-schema.ts";
import { Lane, type LaneOptions, Overrun } from "./lane.ts";
import { SchemaError } from "./schema-error.ts";

export type { Violation } from "./compile.ts";
export { SchemaError } from "./schema-error.ts";

export interface SchemaValidatorOptions extends Partial<LaneOptions> {
  /** How many schemas are kept compiled; those not used for longest go. Default 500, at most 32 MiB of text. */
  readonly maxSchemas?: number;
}

interface Known {
  readonly id: number;
  /** What `checkSchema` found. */
  verdict: Promise<void> | undefined;
  /** It has overrun its time before, so it has to do with a thread of its own kind. */
  suspect: boolean;
}

/**
 * Checks JSON against JSON Schemas (2020-12 and draft-07) that anybody may have written. Schemas become code and data are
 * checked in a thread of its own, under a time limit, so nothing here holds up the caller's event loop. Nothing is fetched, and
 * patterns take linear time. A schema that has once taken too long is checked in another thread from then on, where it holds
 * up only its like.
 */
export class SchemaValidator implements AsyncDisposable {
  readonly #lane: Lane;
  readonly #suspects: Lane;
  readonly #maxSchemas: number;
  readonly #known = new Map<string, Known>();
  #lastId = 0;

  constructor({ compileTimeoutMs = 2_000, validateTimeoutMs = 1_000, maxSchemas = 500 }: SchemaValidatorOptions = {}) {
    this.#lane = new Lane({ compileTimeoutMs, validateTimeoutMs });
    this.#suspects = new Lane({ compileTimeoutMs, validateTimeoutMs });
    this.#maxSchemas = maxSchemas;
  }

  /**
   * Sees whether a schema may be used. The answer is remembered.
   * @throws SchemaError
   */
  async checkSchema(text: string): Promise<void> {
    // Before it is remembered: what is too large is not worth its room.
    inspectSchema(text);
    const known = this.#find(text);
    known.verdict ??= this.#run(known, text, undefined).then(
      () => {},
      (error: unknown) => {
        if (!(error instanceof SchemaError)) known.verdict = undefined;
        throw error;
      },
    );
    await known.verdict;
  }

  /**
   * Checks data, as JSON text, against a schema.
   * @returns what is wrong with them, at most 20 things; empty if they match.
   * @throws SchemaError when the schema is not one that `checkSchema` passes, or takes too long for these data
   */
  async validate(schemaText: string, data: Uint8Array): Promise<Violation[]> {
    return await this.#run(this.#find(schemaText), schemaText, data);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#lane[Symbol.asyncDispose](), this.#suspects[Symbol.asyncDispose]()]);
  }

  async #run(known: Known, text: string, data: Uint8Array | undefined): Promise<Violation[]> {
    const lane = known.suspect ? this.#suspects : this.#lane;
    try {
      const { violations, refusal } = await lane.run({ schema: known.id, text, data });
      if (refusal !== undefined) throw new SchemaError(refusal.reason, refusal.message);
      return violations;
    } catch (error) {
      if (!(error instanceof Overrun)) throw error;
      known.suspect = true;
      throw new SchemaError("SCHEMA_TOO_SLOW", error.message);
    }
  }

  #find(text: string): Known {
    let known = this.#known.get(text);
    if (known === undefined) {
      known = { id: ++this.#lastId, verdict: undefined, suspect: false };
      this.#evict();
    } else this.#known.delete(text);
    // Last in the map: used most recently.
    this.#known.set(text, known);
    return known;
  }

  #evict(): void {
    if (this.#known.size < this.#maxSchemas) return;
    const [oldest] = this.#known.keys();
    const known = this.#known.get(oldest ?? "");
    if (oldest === undefined || known === undefined) return;
    this.#known.delete(oldest);
    this.#lane.forget(known.id);
    this.#suspects.forget(known.id);
  }
}
