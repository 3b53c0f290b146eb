import { cors } from "@connectrpc/connect";
import type { IncomingMessage, ServerResponse } from "node:http";

// As long as any browser keeps it.
const preflightSeconds = "7200";

/**
 * Tells browsers which pages of other origins may call and read the answers. It keeps nobody else from calling: that is not
 * what CORS is for.
 * @param origins such as `https://console.example`; `*` among them means any; none: no page of another origin.
 * @returns whether the request was a browser's question, which is answered with that.
 */
export function answerOrigin(origins: readonly string[], request: IncomingMessage, response: ServerResponse): boolean {
  if (origins.length === 0) return false;
  const { origin } = request.headers;
  const any = origins.includes("*");
  // A cache must not give one origin's answer to another.
  if (!any) response.setHeader("vary", "origin");
  if (origin === undefined || !(any || origins.includes(origin))) return false;
  response.setHeader("access-control-allow-origin", any ? "*" : origin);
  if (request.method !== "OPTIONS" || request.headers["access-control-request-method"] === undefined) {
    response.setHeader("access-control-expose-headers", cors.exposedHeaders.join(", "));
    return false;
  }
  response.writeHead(204, {
    "access-control-allow-methods": cors.allowedMethods.join(", "),
    "access-control-allow-headers": cors.allowedHeaders.join(", "),
    "access-control-max-age": preflightSeconds,
  });
  response.end();
  return true;
}
