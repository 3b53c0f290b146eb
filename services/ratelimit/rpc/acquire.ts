import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  AcquireRequest,
  AcquireResponseSchema,
  AcquireResultSchema,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import type { Acquirer, Result } from "../acquirer.ts";
import type { Counts } from "../counts.ts";
import { capacityOf } from "../core/rule.ts";
import { durationFromUs } from "./durations.ts";

type Init = MessageInitShape<typeof AcquireResultSchema>;
const allowed: Init = { allowed: true };

/** Takes from every limit that applies, all or nothing, each acquisition by itself and in order. */
export async function acquire(
  request: AcquireRequest,
  acquirer: Acquirer,
  counts: Counts,
): Promise<MessageInitShape<typeof AcquireResponseSchema>> {
  const results = await acquirer.acquire(request.acquisitions, request.inOrder);
  const refused = results.filter(({ refusedBy }) => refusedBy !== undefined).length;
  counts.acquisitions(results.length - refused, refused);
  return { results: results.map(resultMessage) };
}

export function resultMessage({ refusedBy, waitUs, paused }: Result): Init {
  if (refusedBy === undefined) return allowed;
  const { stored, key } = refusedBy;
  return {
    limit: stored.limit.name,
    key,
    paused,
    capacity: capacityOf(stored.rule),
    ...(waitUs !== undefined && { retryDelay: durationFromUs(waitUs) }),
  };
}
