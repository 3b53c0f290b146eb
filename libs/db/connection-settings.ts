/** Also an identifier that needs no quotes, in SQL and in start-up options. */
export function assertSchemaName(schema: string): void {
  if (!/^[a-z_][a-z0-9_]{0,19}$/.test(schema)) {
    throw new Error(`A schema's name is 1 to 20 of a-z, 0-9 and "_", beginning with no digit: ${schema}`);
  }
}

/**
 * Puts settings into the start-up packet, so that a new connection has them without a round trip of its own. Options the
 * connection string brings stay, and ours win. PgBouncer in transaction mode does not pass them on.
 */
export function withSettings(
  connectionString: string,
  settings: Readonly<Record<string, string>>,
): { connectionString: string; options: string } {
  const own = Object.entries(settings).map(([name, value]) => `-c ${name}=${value.replaceAll(/[\\\s]/g, "\\$&")}`);
  // pg lets the string win over the config, so what it says there has to be taken out of it.
  let given = "";
  const stripped = connectionString.replace(/([?&])options=([^&]*)(&|$)/, (_, before: string, value: string, after) => {
    given = decodeURIComponent(value.replaceAll("+", " "));
    return after === "&" ? before : "";
  });
  return { connectionString: stripped, options: [given, ...own].join(" ").trim() };
}
