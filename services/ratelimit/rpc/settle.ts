import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type {
  Adjustment,
  SettleRequest,
  SettleResponseSchema,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import type { Counts } from "../counts.ts";
import { namespaceOf } from "../core/plan.ts";
import { refuseNul } from "../failures.ts";
import { type LeasedCost, type RealCost, settle as settleReservations } from "../sql/settle.ts";

/**
 * Charges or gives back the difference to the estimate, once for each reservation, also after a crash. Of two settlements of
 * one reservation in a call the first counts. What the rate has brought back meanwhile, or what has left the window, is not given
 * back a second time: so what things really cost is within the limit over every interval, but for what was charged beyond estimates.
 */
export async function settle(
  { settlements }: SettleRequest,
  pool: ConnectionPool,
  counts: Counts,
): Promise<MessageInitShape<typeof SettleResponseSchema>> {
  const byReservation = new Map<string, RealCost>();
  for (const [index, settlement] of settlements.entries()) {
    const { reservationId, costs, release, adjustments } = settlement;
    refuseNul(`settlements[${index}].reservation_id`, reservationId);
    refuseNul(`settlements[${index}].namespace`, settlement.namespace);
    const namespace = namespaceOf(settlement.namespace);
    const name = `${namespace}|${reservationId}`;
    if (byReservation.has(name)) continue;
    // Of two costs in one unit the last counts, as in an acquisition.
    const lastCosts = new Map(costs.map((cost) => [cost.unit, cost] as const));
    byReservation.set(name, {
      namespace,
      reservationId,
      release,
      costs: [...lastCosts.values()],
      adjustments: [...new Map(adjustments.map((each) => [each.limit, each] as const)).values()].map(leasedCost),
    });
  }
  const settled = await settleReservations(pool, [...byReservation.values()]);
  counts.settled(settled);
  return { settled };
}

function leasedCost({ limit, key, reserved, actual, leaseId }: Adjustment): LeasedCost {
  refuseNul("settlements.adjustments.limit", limit);
  return { limit, key, reserved, actual, leaseId: BigInt.asIntN(64, leaseId) };
}
