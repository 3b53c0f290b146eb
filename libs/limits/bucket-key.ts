import type { Dimension } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";

export interface KeyValues {
  readonly capability: string;
  readonly user: string;
  readonly labels: readonly { readonly key: string; readonly value: string }[];
}

/** `LeaseItem.key` takes no more. */
const maxKeyBytes = 1_024;

/**
 * Which bucket, by the same rule as the RateLimit service's: the values of the dimensions joined by `|`, with `\` before a `|`
 * or `\` of a value's own. What is longer than 1,024 bytes is cut and ends with `#` and its FNV-1a hash.
 */
export function bucketKey(per: readonly Dimension[], values: KeyValues): string {
  if (per.length === 0) return "";
  let key = escape(valueOf(per[0]!, values));
  for (let i = 1; i < per.length; i++) key += `|${escape(valueOf(per[i]!, values))}`;
  // A UTF-16 unit is at most 3 bytes.
  if (key.length * 3 <= maxKeyBytes || Buffer.byteLength(key) <= maxKeyBytes) return key;
  return `${key.slice(0, 256).toWellFormed()}#${fnv1a(key)}`;
}

/** The value of the last label with this key; undefined if there is none. */
export function labelOf(labels: KeyValues["labels"], key: string): string | undefined {
  for (let i = labels.length - 1; i >= 0; i--) if (labels[i]!.key === key) return labels[i]!.value;
  return undefined;
}

function valueOf({ kind }: Dimension, values: KeyValues): string {
  switch (kind.case) {
    case "capability":
      return values.capability;
    case "user":
      return values.user;
    case "label":
      return labelOf(values.labels, kind.value) ?? "";
    case undefined:
      return "";
    default:
      throw kind satisfies never;
  }
}

function escape(value: string): string {
  return value.includes("|") || value.includes("\\") ? value.replace(/[|\\]/g, "\\$&") : value;
}

function fnv1a(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, "0");
}
