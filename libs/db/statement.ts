/** A statement that each connection parses and plans once. `Row` is what the text returns: a promise nobody checks. */
export interface Statement<Row> {
  readonly name: string;
  readonly text: string;
  /** Never set: it only carries the type. */
  readonly row?: Row;
}

/**
 * A named prepared statement. The name, up to 40 bytes, is the statement's own within its schema: the pool puts the schema
 * in front, and two statements that share a name fail on the second's first use. See `columnParser` for what its columns
 * become.
 */
export function prepared<Row = never>(name: string, text: string): Statement<Row> {
  // 63 bytes is Postgres's limit, beyond which it cuts silently; the rest is the schema's.
  if (!/^[\w.-]{1,40}$/.test(name))
    throw new Error(`A statement's name is 1 to 40 of a-z, 0-9, "_", "-", ".": ${name}`);
  return { name, text };
}
