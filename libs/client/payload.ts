import type { Payload } from "#libs/proto/legion/common/v1/payload_pb.ts";
import type { JsonValue } from "./json.ts";

/** Whether a payload says that it is JSON, `application/ld+json` and the like included. */
export function isJson({ contentType }: Payload): boolean {
  return contentType === "" || /^application\/([\w.+-]+\+)?json\b/i.test(contentType);
}

/** JSON as what it means, anything else as its bytes; undefined when there is none. */
export function readPayload(payload: Payload | undefined): JsonValue | Uint8Array | undefined {
  if (payload === undefined || (payload.data.length === 0 && payload.contentType === "")) return undefined;
  if (!isJson(payload)) return payload.data;
  try {
    const value: JsonValue = JSON.parse(payloadText(payload));
    return value;
  } catch {
    return payload.data;
  }
}

export function payloadText({ data }: Payload): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("utf8");
}
