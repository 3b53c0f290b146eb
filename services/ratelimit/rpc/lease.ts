import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { LeaseRequest, LeaseResponseSchema } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import type { Counts } from "../counts.ts";
import { namespaceOf } from "../core/plan.ts";
import { limitNotFound, refuseNul } from "../failures.ts";
import type { LimitsCache } from "../limits-cache.ts";
import { lease as leaseTokens } from "../sql/lease.ts";
import { durationFromUs, usOf } from "./durations.ts";

/** How much later than for its holder a lease ends here, for clocks that run unevenly, in milliseconds. */
const graceMs = 1_000;

/** A thousandth is taken off an age that a holder measured, for the same reason. */
const certainAgeUs = (age: Duration | undefined): bigint => (age === undefined ? 0n : (usOf(age) * 999n) / 1_000n);

/**
 * Grants at most what is wanted and what there is. A bucket's tokens and those leased out of it are together never more than
 * its burst: what is out is not refilled, until it is returned (unspent tokens go back, once, at most what was granted) or
 * expires (all of it then counts as spent at that moment). So tokens used within any interval are at most burst plus refill. A window
 * counts what is leased from its lease until a window after its last use, or after its end.
 *
 * Not guaranteed: a lease outlives a `SetLimit` that lowers its limit, or a pause, until its holder sees the new revision.
 *
 * @throws LIMIT_NOT_FOUND if an item names a limit that does not exist; then nothing is granted or returned.
 */
export async function lease(
  { holderId, items }: LeaseRequest,
  pool: ConnectionPool,
  limits: LimitsCache,
  counts: Counts,
  leaseMs: number,
): Promise<MessageInitShape<typeof LeaseResponseSchema>> {
  refuseNul("holder_id", holderId);
  let current = limits.current;
  const exists = (item: { namespace: string; limit: string }) => current.find(namespaceOf(item.namespace), item.limit);
  if (!items.every(exists)) current = await limits.refresh();
  const wishes = items.map((item) => {
    const stored = exists(item);
    if (stored === undefined) throw limitNotFound(item.namespace, item.limit);
    return {
      limitId: stored.limitId,
      key: item.key,
      returns: BigInt.asIntN(64, item.returnLeaseId),
      unspent: item.returnUnspent,
      lastUseAgeUs: certainAgeUs(item.returnLastUseAge),
      want: item.want,
    };
  });
  const grants = await leaseTokens(pool, holderId, wishes, BigInt(leaseMs + graceMs) * 1_000n);
  counts.leasedTokens(grants.reduce((sum, { granted }) => sum + Number(granted), 0));
  return {
    revision: grants[0]!.revision,
    grants: grants.map(({ lease_id, granted, retry_us }) => ({
      leaseId: lease_id,
      granted,
      ...(granted > 0n && { leaseDuration: durationFromMs(leaseMs) }),
      ...(retry_us !== null && { retryDelay: durationFromUs(retry_us) }),
    })),
  };
}
