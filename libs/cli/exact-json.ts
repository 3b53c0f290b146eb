declare global {
  // ES2026; TypeScript's library does not know it yet.
  interface JSON {
    parse(text: string, reviver: (name: string, value: unknown, context: { source?: string }) => unknown): unknown;
    rawJSON(text: string): unknown;
  }
}

/** Parses JSON so that `JSON.stringify` writes each number again as it was, those beyond 2^53 included. */
export function parseExactly(text: string): unknown {
  return JSON.parse(text, (_name, value, { source }) =>
    typeof value === "number" && source !== undefined && String(value) !== source ? JSON.rawJSON(source) : value,
  );
}
