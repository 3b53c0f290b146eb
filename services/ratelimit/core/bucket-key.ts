import type { Dimension } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";

export interface KeyValues {
  readonly capability: string;
  readonly user: string;
  readonly labels: ReadonlyMap<string, string>;
}

/** `LeaseItem.key` takes no more, and Postgres indexes no more than 2,700 bytes. */
const maxKeyBytes = 1_024;

/**
 * Which bucket: the values of the dimensions joined by `|`, with `\` before a `|` or `\` of a value's own. A missing label is
 * as one with an empty value. What is longer than 1,024 bytes is cut and ends with `#` and its FNV-1a hash: two such keys may share a bucket.
 */
export function bucketKey(per: readonly Dimension[], values: KeyValues): string {
  const key = per.map((dimension) => escape(valueOf(dimension, values))).join("|");
  // A UTF-16 unit is at most 3 bytes.
  if (key.length * 3 <= maxKeyBytes || Buffer.byteLength(key) <= maxKeyBytes) return key;
  return `${key.slice(0, 256).toWellFormed()}#${fnv1a(key)}`;
}

function fnv1a(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, "0");
}

function valueOf({ kind }: Dimension, values: KeyValues): string {
  switch (kind.case) {
    case "capability":
      return values.capability;
    case "user":
      return values.user;
    case "label":
      return values.labels.get(kind.value) ?? "";
    case undefined:
      return "";
    default:
      throw kind satisfies never;
  }
}

function escape(value: string): string {
  return /[|\\]/.test(value) ? value.replace(/[|\\]/g, "\\$&") : value;
}
