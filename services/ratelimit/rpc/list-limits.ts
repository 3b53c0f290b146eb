import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type {
  ListLimitsRequest,
  ListLimitsResponseSchema,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { refuseNul } from "../failures.ts";
import { readLimits } from "../sql/limits.ts";
import { readListingRevision, readPauses } from "../sql/pauses.ts";
import { durationFromUs } from "./durations.ts";

/** The limits and pauses as they are stored now; nothing of them if the caller has seen this revision. */
export async function listLimits(
  { namespace, knownRevision }: ListLimitsRequest,
  pool: ConnectionPool,
): Promise<MessageInitShape<typeof ListLimitsResponseSchema>> {
  refuseNul("namespace", namespace);
  // First: what changes while the lists are read makes the caller ask once more.
  const revision = await readListingRevision(pool);
  if (revision === knownRevision) return { revision };
  const [{ limits }, pauses] = await Promise.all([readLimits(pool, namespace), readPauses(pool, namespace)]);
  return {
    revision,
    limits: limits.map(({ limit }) => limit),
    pauses: pauses.map(({ remaining_us, ...bucket }) => ({ ...bucket, remaining: durationFromUs(remaining_us) })),
  };
}
