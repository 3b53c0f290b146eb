import { legionError } from "#libs/rpc/errors.ts";

/** Says where the next page begins, and of which list it is. */
export function pageToken(list: readonly unknown[], after: string): string {
  return Buffer.from(JSON.stringify([after, ...list])).toString("base64url");
}

/** @throws ConnectError INVALID_REQUEST when the token is none of ours, or of another list */
export function readPageToken(token: string, list: readonly unknown[]): string {
  if (token === "") return "";
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, "base64url").toString());
    if (Array.isArray(parts) && typeof parts[0] === "string" && pageToken(list, parts[0]) === token) return parts[0];
  } catch {
    // Not even JSON.
  }
  const description = "must be a next_page_token of a call with the same namespace and filters";
  throw legionError("INVALID_REQUEST", `page_token: ${description}`, {
    violations: [{ field: "page_token", description }],
  });
}
