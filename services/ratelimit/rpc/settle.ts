import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { SettleRequest, SettleResponseSchema } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import type { Counts } from "../counts.ts";
import { namespaceOf } from "../core/plan.ts";
import { refuseNul } from "../failures.ts";
import { type RealCost, settle as settleReservations } from "../sql/settle.ts";

/**
 * Charges or gives back the difference to the estimate, once for each reservation, also after a crash. Of two settlements of
 * one reservation in a call the first counts. What is given back at once makes room: over any interval what was admitted less
 * what was given back is within the limit, so tokens reserved early and given back late can be admitted beside the refill.
 */
export async function settle(
  { settlements }: SettleRequest,
  pool: ConnectionPool,
  counts: Counts,
): Promise<MessageInitShape<typeof SettleResponseSchema>> {
  const byReservation = new Map<string, RealCost>();
  for (const [index, settlement] of settlements.entries()) {
    const { reservationId, costs, release } = settlement;
    refuseNul(`settlements[${index}].reservation_id`, reservationId);
    refuseNul(`settlements[${index}].namespace`, settlement.namespace);
    const namespace = namespaceOf(settlement.namespace);
    const name = `${namespace}|${reservationId}`;
    if (byReservation.has(name)) continue;
    // Of two costs in one unit the last counts, as in an acquisition.
    const lastCosts = new Map(costs.map((cost) => [cost.unit, cost] as const));
    byReservation.set(name, { namespace, reservationId, release, costs: [...lastCosts.values()] });
  }
  const settled = await settleReservations(pool, [...byReservation.values()]);
  counts.settled(settled);
  return { settled };
}
