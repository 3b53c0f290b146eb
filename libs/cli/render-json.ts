import type { DescEnum, DescMessage, Message } from "@bufbuild/protobuf";
import { isMessage, toJson } from "@bufbuild/protobuf";
import { isReflectList, isReflectMap, isReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { isJson, payloadText } from "#libs/client/payload.ts";
import { PayloadSchema } from "#libs/proto/legion/common/v1/payload_pb.ts";
import type { Payload } from "#libs/proto/legion/common/v1/payload_pb.ts";
import { parseExactly } from "./exact-json.ts";

/**
 * A message as programs get it: the proto's field names, enum values without their prefix, 64-bit numbers as numbers, JSON
 * payloads as what they hold. Fields that were not set have their default; messages that are absent are left out.
 */
export function renderJson(schema: DescMessage, message: Message): Record<string, unknown> {
  return renderMessage(reflect(schema, message));
}

/** The name of an enum's value without the enum's prefix; its number if the value is newer than this program. */
export function enumName(desc: DescEnum, value: number): string {
  const known = desc.value[value];
  return known === undefined ? String(value) : known.name.slice((desc.sharedPrefix ?? "").length).toUpperCase();
}

function renderMessage(message: ReflectMessage): Record<string, unknown> {
  const rendered: Record<string, unknown> = {};
  for (const field of message.fields) {
    if (!message.isSet(field) && (field.message !== undefined || field.oneof !== undefined)) continue;
    const value: unknown = message.get(field);
    rendered[field.name] = field.enum === undefined ? renderValue(value) : renderEnum(field.enum, value);
  }
  return rendered;
}

function renderEnum(desc: DescEnum, value: unknown): unknown {
  if (typeof value === "number") return enumName(desc, value);
  return isReflectList(value) ? [...value].map((item) => renderEnum(desc, item)) : value;
}

function renderValue(value: unknown): unknown {
  if (isReflectList(value)) return [...value].map(renderValue);
  if (isReflectMap(value)) {
    return Object.fromEntries([...value].map(([key, item]) => [String(key), renderValue(item)]));
  }
  if (isReflectMessage(value)) {
    const { message } = value;
    if (isMessage(message, TimestampSchema)) return toJson(TimestampSchema, message);
    if (isMessage(message, DurationSchema)) return toJson(DurationSchema, message);
    return isMessage(message, PayloadSchema) ? renderPayload(message) : renderMessage(value);
  }
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  return value instanceof Uint8Array ? value.toBase64() : value;
}

/** Bytes that are no text stand as base64, and say so. */
export function renderPayload(payload: Payload): Record<string, unknown> {
  const contentType = payload.contentType || "application/json";
  if (isJson(payload)) {
    try {
      return { content_type: contentType, data: parseExactly(payloadText(payload)) };
    } catch {
      // Shown as the bytes they are.
    }
  }
  if (contentType.startsWith("text/")) return { content_type: contentType, data: payloadText(payload) };
  return { content_type: contentType, encoding: "base64", data: payload.data.toBase64() };
}
