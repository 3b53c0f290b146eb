import { isJson, payloadText } from "#libs/client/payload.ts";
import type { Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import type { Payload } from "#libs/proto/legion/common/v1/payload_pb.ts";

/** How something came out, for people. */
export function outcomeText({ kind }: Outcome): string {
  switch (kind.case) {
    case "completed":
      return payloadLine(kind.value.result) || "completed, without a result";
    case "failed":
      return `${kind.value.code || "ERROR"}: ${kind.value.message}`;
    case "canceled":
      return kind.value.reason === "" ? "canceled" : `canceled: ${kind.value.reason}`;
    case undefined:
    default:
      return "of a kind this program does not know";
  }
}

/** A payload as text, or what it is if it is none. */
export function payloadLine(payload: Payload | undefined): string {
  if (payload === undefined) return "";
  const { contentType, data } = payload;
  if (isJson(payload) || contentType.startsWith("text/")) return payloadText(payload);
  return `${data.length.toLocaleString("en")} bytes of ${contentType}`;
}
