import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type {
  DeleteLimitRequest,
  DeleteLimitResponseSchema,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { namespaceOf } from "../core/plan.ts";
import { limitNotFound, refuseNul } from "../failures.ts";
import { deleteLimit as deleteStored } from "../sql/limits.ts";

/** Deletes a limit, its buckets and its leases. Reservations made under it are settled to no effect. */
export async function deleteLimit(
  { namespace, name }: DeleteLimitRequest,
  pool: ConnectionPool,
): Promise<MessageInitShape<typeof DeleteLimitResponseSchema>> {
  refuseNul("namespace", namespace);
  refuseNul("name", name);
  if (!(await deleteStored(pool, namespaceOf(namespace), name))) throw limitNotFound(namespace, name);
  return {};
}
