import { legionError } from "#libs/rpc/errors.ts";

/** Where the next page begins, and of which question: a token is good for the question that it answers alone. */
export function pageToken(question: readonly string[], before: bigint): string {
  return Buffer.from(JSON.stringify([1, ...question, String(before)])).toString("base64url");
}

/** @throws INVALID_REQUEST for what `pageToken` did not make for this question. */
export function readPageToken(token: string, question: readonly string[]): bigint {
  const expected = [1, ...question];
  const parts = parse(token);
  const before = parts?.at(-1);
  const fits = parts?.length === expected.length + 1 && expected.every((part, index) => parts[index] === part);
  if (fits && typeof before === "string" && /^\d{1,18}$/.test(before)) return BigInt(before);
  const description = "is not from an answer to the same request";
  throw legionError("INVALID_REQUEST", `page_token ${description}`, {
    violations: [{ field: "page_token", description }],
  });
}

function parse(token: string): unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
