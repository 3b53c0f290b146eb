import { create } from "@bufbuild/protobuf";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { Code, type Client } from "@connectrpc/connect";
import {
  type AcquireResult,
  type Acquisition,
  AcquisitionSchema,
  type ListLimitsResponse,
  type RateLimitService,
} from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { isUnavailable, toConnectError } from "#libs/rpc/errors.ts";
import type { LeaseAnswer, LeaseAsk } from "./lease-ledger.ts";
import type { Subject } from "./limit-index.ts";

export type RateLimitClient = Pick<Client<typeof RateLimitService>, "acquire" | "lease" | "listLimits">;

const timeoutMs = 2_000;

/** What a holder says to the RateLimit service, in its words. */
export class Arbiter {
  readonly #client: RateLimitClient;
  readonly #holderId: string;

  constructor(client: RateLimitClient, holderId: string) {
    this.#client = client;
    this.#holderId = holderId;
  }

  /** @param nowMs when it is sent. */
  async lease(asks: readonly LeaseAsk[], nowMs: number): Promise<LeaseAnswer[]> {
    const items = asks.map(({ bucket: { limit, key }, want, returned }) => ({
      namespace: limit.namespace,
      limit: limit.name,
      key,
      want: BigInt(want),
      ...(returned !== undefined && {
        returnLeaseId: returned.id,
        returnUnspent: BigInt(returned.left),
        ...(returned.lastUseMs !== undefined && {
          returnLastUseAge: durationFromMs(Math.floor(leaseAgeMs(nowMs, returned.lastUseMs))),
        }),
      }),
    }));
    const { grants, revision } = await this.#client.lease({ holderId: this.#holderId, items }, { timeoutMs });
    return grants.map(({ leaseId, granted, leaseDuration, retryDelay }) => ({
      id: leaseId,
      granted: Number(granted),
      durationMs: leaseDuration === undefined ? 0 : durationMs(leaseDuration),
      retryDelayMs: retryDelay === undefined ? undefined : durationMs(retryDelay),
      revision,
    }));
  }

  async acquire(acquisitions: Acquisition[]): Promise<AcquireResult[]> {
    return (await this.#client.acquire({ acquisitions }, { timeoutMs })).results;
  }

  async listLimits(namespace: string, knownRevision: bigint): Promise<ListLimitsResponse> {
    return await this.#client.listLimits({ namespace, knownRevision }, { timeoutMs });
  }
}

/**
 * How long ago a use is said to be: a thousandth less than by this clock, which may run fast. Clocks are slewed by 500 parts in a
 * million at most. Too short only makes the use count longer.
 */
export function leaseAgeMs(nowMs: number, lastUseMs: number): number {
  return Math.max(0, (nowMs - lastUseMs) * 0.999);
}

/** @param limits only these, by name; empty: all that apply. */
export function toAcquisition(subject: Subject, reservationId: string, limits: readonly string[]): Acquisition {
  const { namespace, capability, user, labels, costs } = subject;
  return create(AcquisitionSchema, {
    reservationId,
    namespace,
    capability,
    user,
    labels: labels.map(({ key, value }) => ({ key, value })),
    costs: costs.map(({ unit, amount }) => ({ unit, amount })),
    limits: [...limits],
  });
}

/** Nobody answered, or who did cannot reach its database: nothing was decided. */
export function isAway(error: unknown): boolean {
  if (isUnavailable(error)) return true;
  const { code } = toConnectError(error);
  return code === Code.DeadlineExceeded || code === Code.Canceled;
}
