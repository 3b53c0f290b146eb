import { randomUUID } from "node:crypto";
import { meshAddresses } from "#libs/client/addresses.ts";
import { systemClock } from "#libs/clock/clock.ts";
import { RateLimitService } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import type { KeyLimit } from "./key-limit.ts";
import { TokenHolder } from "./token-holder.ts";

/** A limit of the mesh, shared by all processes that use it. */
export interface MeshLimitOptions {
  /** Its name, as in `legion limits set NAME`. Whatever its selector says, it counts each call. */
  readonly limit: string;
  /** Where RateLimit answers, `host:port`, several separated by commas. Default: LEGION_RATELIMIT, else the local mesh's. */
  readonly address?: string;
  /** The tenant. Default: `default`. */
  readonly namespace?: string;
  /** For a limit per capability. Default: none. */
  readonly capability?: string;
  /** For a limit per label. Default: none. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly calls?: undefined;
  readonly periodMs?: undefined;
  readonly burst?: undefined;
}

interface Shared extends AsyncDisposable {
  readonly holder: TokenHolder;
}

/** One for each service and tenant, so that functions under one limit spend from one lease. */
const shared = new Map<string, Shared>();

export function meshLimit(options: MeshLimitOptions): (user: string) => KeyLimit {
  const { limit, namespace = "default", capability = "", labels = {} } = options;
  const address = options.address ?? meshAddresses().ratelimit.join(",");
  const labelList = Object.entries(labels).map(([key, value]) => ({ key, value }));
  return (user) => {
    const take = async (cost: number): Promise<number> => {
      const { holder } = sharedHolder(address, namespace);
      // Before it is known what the limit counts nothing can be said to cost that.
      if (holder.limits === undefined) await holder.poll();
      const unit = holder.limits?.find(namespace, limit)?.limit.unit ?? "";
      const costs = [{ unit, amount: BigInt(cost) }];
      const decision = await holder.admit({ namespace, capability, user, labels: labelList, costs, limits: [limit] });
      if (decision.kind === "admitted") return 0;
      // Asking again at once, as a wait of 0 ms would, is no use.
      if (decision.kind === "refused") return Math.max(1, decision.refusal.retryDelayMs ?? Infinity);
      const message = `The RateLimit service at ${address} cannot be asked about the limit '${limit}'.`;
      throw legionError("RATE_LIMIT_UNREACHABLE", message, { retryDelayMs: 1_000 });
    };
    return { what: `'${limit}'${user === "" ? "" : ` for '${user}'`}`, take, isFresh: () => true };
  };
}

/**
 * Gives back what functions under limits of the mesh have leased and not used, and closes the connections; the next call opens
 * them again. Without it what is leased at the end of a process counts as used.
 */
export async function closeMeshLimits(): Promise<void> {
  const all = [...shared.values()];
  shared.clear();
  await Promise.all(all.map((one) => one[Symbol.asyncDispose]()));
}

function sharedHolder(address: string, namespace: string): Shared {
  const name = `${namespace}@${address}`;
  let found = shared.get(name);
  if (found === undefined) {
    const channel = new GrpcChannel(address.split(","), { balance: "per-call" });
    const log = {
      info: () => {},
      warn: (message: string) => process.emitWarning(`Limits at ${address}: ${message}`),
    };
    const client = createClient(RateLimitService, channel);
    const holder = new TokenHolder({ client, holderId: `sdk-${randomUUID()}`, clock: systemClock, log, namespace });
    holder.start();
    const close = async (): Promise<void> => {
      await holder[Symbol.asyncDispose]();
      channel.close();
    };
    shared.set(name, (found = { holder, [Symbol.asyncDispose]: close }));
  }
  return found;
}
