import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type {
  PauseLimitRequest,
  PauseLimitResponseSchema,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { namespaceOf } from "../core/plan.ts";
import { limitNotFound, refuseNul } from "../failures.ts";
import { pauseLimit as storePause } from "../sql/pauses.ts";
import { usOf } from "./durations.ts";

/** Pauses a bucket of any limit, or ends its pause. Decisions see it at once; holders of leases when they next list the limits. */
export async function pauseLimit(
  { namespace, limit, key, duration }: PauseLimitRequest,
  pool: ConnectionPool,
): Promise<MessageInitShape<typeof PauseLimitResponseSchema>> {
  refuseNul("namespace", namespace);
  refuseNul("limit", limit);
  const bucket = { namespace: namespaceOf(namespace), limit, key };
  const untilUs = await storePause(pool, bucket, duration === undefined ? 0n : usOf(duration));
  if (untilUs === undefined) throw limitNotFound(namespace, limit);
  return untilUs === 0n ? {} : { pauseUntil: timestampFromMs(Number(untilUs / 1_000n)) };
}
