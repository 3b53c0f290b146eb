import type { Payload } from "#libs/proto/legion/common/v1/payload_pb.ts";
import type { Outcome } from "#libs/proto/legion/common/v1/outcome_pb.ts";
import type { ExecutionStats } from "#libs/proto/legion/common/v1/execution_stats_pb.ts";
import type { AttemptOutcome, AttemptProgress, Pause } from "#libs/proto/legion/registry/v1/session_pb.ts";

const maxCodeBytes = 128;
const maxMessageBytes = 16 * 1024;
const maxReasonBytes = 1024;
const maxProgressOutputBytes = 64 * 1024;
const maxContentTypeBytes = 128;
const maxDelayS = 86_400n;

export interface Failure {
  readonly code: "INVALID_OUTCOME" | "RESULT_TOO_LARGE";
  readonly message: string;
}

/**
 * Brings an outcome within its bounds: what is too long is cut, measurements that cannot be are left out.
 * @returns why it cannot be recorded as it is, and the attempt is to be failed instead; undefined when it can.
 */
export function checkOutcome(answer: AttemptOutcome, maxResultBytes: number): Failure | undefined {
  const { outcome, stats, pause } = answer;
  if (stats !== undefined && !isPossible(stats)) answer.stats = undefined;
  if (pause !== undefined && !isInRange(pause)) answer.pause = undefined;
  const kind = outcome?.kind;
  switch (kind?.case) {
    case "completed": {
      return checkPayload("result", kind.value.result, maxResultBytes);
    }
    case "failed": {
      const { value } = kind;
      value.code = cut(value.code, maxCodeBytes) || "ERROR";
      value.message = cut(value.message, maxMessageBytes);
      if (value.retryDelay !== undefined && !isDelay(value.retryDelay)) value.retryDelay = undefined;
      return checkPayload("details of its failure", value.details, maxResultBytes);
    }
    case "canceled":
      kind.value.reason = cut(kind.value.reason, maxReasonBytes);
      return undefined;
    case undefined:
      return { code: "INVALID_OUTCOME", message: "The agent's answer says neither completed nor failed nor canceled." };
    default:
      throw kind satisfies never;
  }
}

/** The outcome of an attempt whose own outcome cannot be recorded: the task ends with a reason. */
export function failedOutcome({ code, message }: Failure): Outcome {
  return {
    $typeName: "legion.common.v1.Outcome",
    kind: {
      case: "failed",
      value: { $typeName: "legion.common.v1.Failed", code, message, retryable: false, callerFault: false },
    },
  };
}

/** Brings news within their bounds. */
export function checkProgress(news: AttemptProgress): void {
  news.fraction = news.fraction > 0 ? Math.min(1, news.fraction) : 0;
  news.message = cut(news.message, maxReasonBytes);
  if (news.output !== undefined && news.output.data.length > maxProgressOutputBytes) news.output = undefined;
}

function checkPayload(what: string, payload: Payload | undefined, maxBytes: number): Failure | undefined {
  if (payload === undefined) return undefined;
  const size = payload.data.length;
  if (size > maxBytes) {
    const message = `The attempt's ${what} has ${size} bytes; at most ${maxBytes} are kept. Store it elsewhere and return a reference.`;
    return { code: "RESULT_TOO_LARGE", message };
  }
  if (Buffer.byteLength(payload.contentType) > maxContentTypeBytes) {
    const message = `The content type of the attempt's ${what} has more than ${maxContentTypeBytes} bytes.`;
    return { code: "INVALID_OUTCOME", message };
  }
  return undefined;
}

/** At most so many bytes of UTF-8, without half a character at the end. */
export function cut(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes) return text;
  const bytes = Buffer.from(text.slice(0, maxBytes));
  let end = Math.min(maxBytes, bytes.length);
  // 10xxxxxx goes on with a character that began before.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end);
}

interface Span {
  readonly seconds: bigint;
  readonly nanos: number;
}

const isDelay = ({ seconds, nanos }: Span): boolean =>
  seconds >= 0n && nanos >= 0 && nanos < 1e9 && (seconds < maxDelayS || (seconds === maxDelayS && nanos === 0));

function isInRange({ retryDelay, limit }: Pause): boolean {
  if (retryDelay === undefined || !isDelay(retryDelay)) return false;
  return (retryDelay.seconds > 0n || retryDelay.nanos > 0) && Buffer.byteLength(limit) <= 128;
}

// A century: what is longer was not measured.
const maxDurationS = 3_155_760_000n;

function isPossible(stats: ExecutionStats): boolean {
  const { duration, costs } = stats;
  if (duration !== undefined && (duration.seconds < 0n || duration.seconds > maxDurationS)) return false;
  if (duration !== undefined && !(duration.nanos >= 0 && duration.nanos < 1e9)) return false;
  if (stats.memoryBeforeBytes < 0n || stats.memoryAfterBytes < 0n || stats.heapAfterCollectionBytes < 0n) return false;
  if (costs.length > 16) return false;
  return costs.every(({ unit, amount }) => /^\w{0,63}$/.test(unit) && amount >= 0n && amount <= 1_000_000_000_000n);
}
