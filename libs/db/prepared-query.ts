import type { Connection, FieldDef, Submittable } from "pg";
import { toError } from "./errors.ts";
import { columnParser, infiniteTimeMs } from "./types.ts";

/** What pg-cursor and pg-query-stream also build on: pg's own types leave these out. */
interface Wire {
  readonly stream: Connection["stream"];
  sync(): void;
  readonly parsedStatements: Record<string, string | undefined>;
  parse(message: { name: string; text: string }): void;
  bind(message: { statement: string; values: readonly unknown[]; valueMapper: (value: unknown) => unknown }): void;
  describe(message: { type: "P" }): void;
  execute(): void;
}

interface Column {
  readonly name: string;
  readonly parse: (text: string) => unknown;
}

type Callback = (error: Error | null, rows: unknown[]) => void;

/**
 * One execution of a named statement. Unlike pg's own query it remembers the columns of a statement that the connection has
 * prepared, and so neither asks for them nor builds parsers again; Postgres refuses to let them change under a prepared
 * statement. Measured: 46 µs of CPU a statement instead of 55 µs, and 5 % less a row at 500 rows.
 */
export class PreparedQuery implements Submittable {
  readonly name: string;
  readonly text: string;
  /** pg's client reads and replaces it. */
  callback: Callback;
  readonly #values: readonly unknown[];
  readonly #rows: unknown[] = [];
  #columns: readonly Column[] = [];
  #known: Map<string, readonly Column[]> | undefined;
  #error: Error | undefined;

  constructor(name: string, text: string, values: readonly unknown[], callback: Callback) {
    this.name = name;
    this.text = text;
    this.#values = values;
    this.callback = callback;
  }

  submit(connection: Connection): Error | null {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- see Wire
    const wire = connection as unknown as Wire;
    const parsed = wire.parsedStatements[this.name];
    if (parsed !== undefined && parsed !== this.text) {
      return new Error(`Two statements are called ${this.name}: ${parsed} and ${this.text}`);
    }
    const known = knownColumns(connection);
    const columns = parsed === undefined ? undefined : known.get(this.name);
    wire.stream.cork();
    try {
      if (parsed === undefined) wire.parse({ name: this.name, text: this.text });
      wire.bind({ statement: this.name, values: this.#values, valueMapper: toWire });
      if (columns === undefined) {
        this.#known = known;
        wire.describe({ type: "P" });
      } else {
        this.#columns = columns;
      }
      wire.execute();
    } catch (error) {
      // A value that cannot be sent. The Sync below makes Postgres answer, so the connection stays in step.
      this.#error = toError(error);
    } finally {
      wire.sync();
      wire.stream.uncork();
    }
    return null;
  }

  handleRowDescription(message: { fields: readonly FieldDef[] }): void {
    this.#columns = message.fields.map((field) => ({ name: field.name, parse: columnParser(field.dataTypeID) }));
  }

  handleDataRow(message: { fields: readonly (string | null)[] }): void {
    const row: Record<string, unknown> = {};
    try {
      for (let i = 0; i < this.#columns.length; i++) {
        const { name, parse } = this.#columns[i]!;
        const text = message.fields[i]!;
        row[name] = text === null ? null : parse(text);
      }
      this.#rows.push(row);
    } catch (error) {
      // Thrown from here it would end the process: the caller above is the socket.
      this.#error ??= toError(error);
    }
  }

  handleCommandComplete(): void {
    // Only now is it sure that the columns were told: a statement without a result has none.
    this.#known?.set(this.name, this.#columns);
  }

  handleEmptyQuery(): void {}

  handlePortalSuspended(): void {}

  handleCopyInResponse(connection: { sendCopyFail(reason: string): void }): void {
    connection.sendCopyFail("COPY is not for prepared statements");
  }

  handleCopyData(): void {}

  handleError(error: Error): void {
    this.callback(this.#error ?? error, []);
  }

  handleReadyForQuery(): void {
    this.callback(this.#error ?? null, this.#rows);
  }
}

const columnsOf = new WeakMap<Connection, Map<string, readonly Column[]>>();

function knownColumns(connection: Connection): Map<string, readonly Column[]> {
  let known = columnsOf.get(connection);
  if (known === undefined) columnsOf.set(connection, (known = new Map()));
  return known;
}

/** pg sends a Buffer as binary and everything else as text. */
function toWire(value: unknown): Buffer | string | null {
  if (typeof value === "string") return value;
  if (value === null || value === undefined) return null;
  if (Buffer.isBuffer(value)) return value;
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof Date) return timestampText(value);
  // An array could mean a Postgres array or JSON, an object is JSON or a mistake: the caller says which.
  throw new TypeError(`Not a statement's parameter: ${typeof value}. Use the array encoders, or JSON.stringify.`);
}

function timestampText(date: Date): string {
  const timeMs = date.getTime();
  if (Math.abs(timeMs) === infiniteTimeMs) return timeMs > 0 ? "infinity" : "-infinity";
  return date.toISOString();
}
