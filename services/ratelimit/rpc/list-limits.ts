import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type {
  ListLimitsRequest,
  ListLimitsResponseSchema,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { refuseNul } from "../failures.ts";
import { readLimits } from "../sql/limits.ts";

/** The limits as they are stored now, by namespace and name. */
export async function listLimits(
  { namespace }: ListLimitsRequest,
  pool: ConnectionPool,
): Promise<MessageInitShape<typeof ListLimitsResponseSchema>> {
  refuseNul("namespace", namespace);
  const { revision, limits } = await readLimits(pool, namespace);
  return { limits: limits.map(({ limit }) => limit), revision };
}
