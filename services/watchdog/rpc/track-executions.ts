import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type ExecutionSample, ExecutionResult } from "#libs/proto/legion/watchdog/v1/sample_pb.ts";
import type {
  TrackExecutionsRequest,
  TrackExecutionsResponseSchema,
} from "#libs/proto/legion/watchdog/v1/watchdog_service_pb.ts";
import type { Execution, Tracker } from "../tracker.ts";

/** Answers when the samples are committed. The verdicts follow within a second or so. */
export async function trackExecutions(
  request: TrackExecutionsRequest,
  tracker: Tracker,
): Promise<MessageInitShape<typeof TrackExecutionsResponseSchema>> {
  await tracker.track({ batchId: storable(request.batchId), executions: request.samples.map(executionOf) });
  return {};
}

/** A year: what takes longer is as good as that, and microseconds of it are still whole numbers. */
const maxDurationMs = 366 * 86_400_000;
/** The years that a Timestamp may have and Postgres and JavaScript both know, from 1970. */
const maxTimeMs = Date.UTC(9999, 11, 31);

function executionOf(sample: ExecutionSample): Execution {
  const { seconds, nanos } = sample.duration!;
  const endTimeMs = sample.endTime && timestampMs(sample.endTime);
  return {
    subject: {
      namespace: storable(sample.namespace) || "default",
      agentId: storable(sample.agentId),
      // As the Registry calls them.
      name: storable(sample.name) || storable(sample.agentId),
      version: storable(sample.version) || "0",
      capability: storable(sample.capability),
    },
    durationMs: Math.min(Number(seconds) * 1_000 + nanos / 1_000_000, maxDurationMs),
    failed: sample.result === ExecutionResult.FAILED,
    memoryBeforeBytes: byteCount(sample.memoryBeforeBytes),
    memoryAfterBytes: byteCount(sample.memoryAfterBytes),
    heapAfterCollectionBytes: byteCount(sample.heapAfterCollectionBytes),
    endTimeMs: endTimeMs !== undefined && endTimeMs >= 0 && endTimeMs <= maxTimeMs ? endTimeMs : undefined,
  };
}

function byteCount(bytes: bigint): number {
  return Math.min(Number(bytes), Number.MAX_SAFE_INTEGER);
}

/** Postgres refuses a whole statement for one character 0, and the samples of others would go with it. */
function storable(text: string): string {
  return text.includes("\0") ? text.replaceAll("\0", "\ufffd") : text;
}
