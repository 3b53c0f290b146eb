import type { Duration } from "@bufbuild/protobuf/wkt";
import type { Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import type { Payload } from "#libs/proto/legion/common/v1/payload_pb.ts";

// Messages as plain literals: `create` copies what it is given and costs several times as much, twice per task.

const maxDurationMs = 24 * 3_600_000;

export function payload(data: Uint8Array): Payload {
  return { $typeName: "legion.common.v1.Payload", contentType: "", data };
}

/** Never negative; with the nanoseconds that a fraction of a millisecond has. */
export function duration(ms: number): Duration {
  const seconds = Math.floor(ms / 1_000);
  const nanos = Math.floor((ms - seconds * 1_000) * 1e6);
  return { $typeName: "google.protobuf.Duration", seconds: seconds === 0 ? 0n : BigInt(seconds), nanos };
}

/** A delay as the contract takes it: 0 to 24 h. */
export function delay(ms: number): Duration {
  return duration(Math.min(Math.max(ms, 0), maxDurationMs));
}

export function completed(result: Uint8Array): Outcome {
  return {
    $typeName: "legion.common.v1.Outcome",
    kind: { case: "completed", value: { $typeName: "legion.common.v1.Completed", result: payload(result) } },
  };
}

export function canceled(reason: string): Outcome {
  return {
    $typeName: "legion.common.v1.Outcome",
    kind: { case: "canceled", value: { $typeName: "legion.common.v1.Canceled", reason: cutBytes(reason, 1024) } },
  };
}

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly retryDelayMs?: number | undefined;
  readonly details?: Uint8Array | undefined;
  readonly callerFault?: boolean;
}

export function failed({ code, message, retryable, retryDelayMs, details, callerFault = false }: Failure): Outcome {
  return {
    $typeName: "legion.common.v1.Outcome",
    kind: {
      case: "failed",
      value: {
        $typeName: "legion.common.v1.Failed",
        code: cutBytes(code, 128),
        message: cutBytes(message, 16 * 1024),
        retryable,
        retryDelay: retryDelayMs === undefined ? undefined : delay(retryDelayMs),
        details: details === undefined ? undefined : payload(details),
        callerFault,
      },
    },
  };
}

/** The text, well-formed and of at most so many bytes of UTF-8: no contract refuses it. */
export function cutBytes(text: string, maxBytes: number): string {
  // What a handler throws need not keep to types.
  if (typeof text !== "string") return cutBytes(String(text), maxBytes);
  // A UTF-16 unit is at most three bytes.
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes) return text.toWellFormed();
  const bytes = Buffer.from(text.slice(0, maxBytes).toWellFormed());
  let end = Math.min(bytes.length, maxBytes);
  // Not inside a character: continuation bytes are 10xxxxxx.
  while (end < bytes.length && end > 0 && (bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}
