import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Clock } from "#libs/clock/clock.ts";
import { WhenLimited, type TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { errorMetadata, errorReason, errorRetryDelayMs } from "#libs/rpc/errors.ts";
import { bucketsOf, capacityOf } from "./buckets.ts";
import type { LaneEntry } from "../sql/insert-limited-tasks.ts";
import type { GateName } from "../sql/lanes.ts";
import type { LaneTable } from "./lane-table.ts";
import type { Reserved } from "./limit-gate.ts";
import type { LiveRoute } from "./route-table.ts";

/** What is asked about limits when a task comes in. */
export interface LimitSource {
  /** All limits that count the task, of every kind. */
  applying(task: TaskSpec): readonly Limit[];
  /** Takes the task's cost from the limits on rates that count it. @throws ConnectError RATE_LIMITED, RATE_LIMIT_UNREACHABLE, INVALID_REQUEST */
  admit(task: TaskSpec): Promise<Reserved>;
  /** Takes back what was not used. */
  release(reserved: Reserved): void;
  /** Whether no limit counts the task. */
  isFree(task: TaskSpec): boolean;
  /** False until they were read once. */
  readonly limitsKnown: boolean;
}

/** A task that may come in, on its route. */
export interface Admitted {
  readonly route: LiveRoute;
  /** Undefined if no limit counts it. */
  readonly lane?: LaneEntry;
  /** What it took of its rates. */
  readonly reserved?: Reserved;
}

// How soon an arbiter that is away is asked again for a task that may wait.
const unreachableRestMs = 1_000;
const mostBlocked = 10_000;

/** Decides what limits mean for a task on its way in: refused, parked, or let pass. */
export class LaneAdmission {
  readonly #limits: LimitSource;
  readonly #lanes: LaneTable;
  readonly #clock: Clock;
  /** Gates that refused somebody, and until when; milliseconds, monotonic. Who may wait does not ask them meanwhile. */
  readonly #blocked = new Map<number, number>();

  constructor(limits: LimitSource, lanes: LaneTable, clock: Clock) {
    this.#limits = limits;
    this.#lanes = lanes;
    this.#clock = clock;
  }

  isFree(task: TaskSpec): boolean {
    return this.#limits.isFree(task);
  }

  /** The task was there already: what it has just taken is not used. */
  unused({ reserved }: Admitted): void {
    if (reserved !== undefined) this.#limits.release(reserved);
  }

  /** A gate will admit nothing that waits for it before then. */
  blocked(gateKey: number, delayMs: number): void {
    if (this.#blocked.size >= mostBlocked) this.#blocked.clear();
    this.#blocked.set(gateKey, this.#clock.monotonic() + delayMs);
  }

  /** Limits changed: what was refused may pass now. */
  eased(): void {
    this.#blocked.clear();
  }

  /**
   * One that waits for its time first, and may wait for its limits, asks them when that has come.
   * @throws what `LimitSource.admit` throws, unless the task may wait.
   */
  async admit(spec: TaskSpec, route: LiveRoute): Promise<Admitted> {
    // Nobody knows what applies: this finds out, or refuses.
    const early = this.#limits.limitsKnown ? undefined : await this.#limits.admit(spec);
    const { rates, slots } = bucketsOf(this.#limits.applying(spec), spec);
    if (rates.length === 0 && slots.length === 0) return { route };
    const toGate = ({ limit, key }: { limit: Limit; key: string }): GateName => ({
      namespace: limit.namespace,
      limit: limit.name,
      key,
    });
    const wanted = { rates: rates.map(toGate), slots: slots.map(toGate), routeKey: route.routeKey };
    const lane = await this.#lanes.of(wanted);
    const waits = spec.whenLimited === WhenLimited.WAIT;
    const entry = {
      laneKey: lane.laneKey,
      paid: true,
      parks: slots.length > 0,
      queuesUp: waits,
      waitMs: 0,
      blockedBy: null,
      spent: null,
    };
    if (rates.length === 0) return { route, lane: entry };
    // One that could never pass is told so at once.
    const parks = waits && early === undefined && rates.every(({ limit, cost }) => cost <= capacityOf(limit));
    const isLater = spec.runTime !== undefined && timestampMs(spec.runTime) > this.#clock.now();
    if (parks && isLater) return { route, lane: { ...entry, paid: false } };
    const closed = parks ? this.#closedGate(lane.rateGates) : undefined;
    if (closed !== undefined) return { route, lane: { ...entry, paid: false, parks: true, ...closed } };
    try {
      const reserved = early ?? (await this.#limits.admit(spec));
      return { route, lane: { ...entry, spent: spentFrom(reserved, wanted.rates, lane.rateGates) }, reserved };
    } catch (error) {
      const reason = errorReason(error);
      if (!waits || (reason !== "RATE_LIMITED" && reason !== "RATE_LIMIT_UNREACHABLE")) throw error;
      if (reason === "RATE_LIMIT_UNREACHABLE") {
        return { route, lane: { ...entry, paid: false, parks: true, waitMs: unreachableRestMs } };
      }
      const { limit, key } = errorMetadata(error);
      const index = wanted.rates.findIndex((gate) => gate.limit === limit && gate.key === key);
      const blockedBy = lane.rateGates[index] ?? null;
      const waitMs = errorRetryDelayMs(error) ?? unreachableRestMs;
      if (blockedBy !== null) this.blocked(blockedBy, waitMs);
      return { route, lane: { ...entry, paid: false, parks: true, waitMs, blockedBy } };
    }
  }

  /** The gate that is closed for longest. */
  #closedGate(gates: readonly number[]): { waitMs: number; blockedBy: number } | undefined {
    const nowMs = this.#clock.monotonic();
    let closed: { waitMs: number; blockedBy: number } | undefined;
    for (const gate of gates) {
      const waitMs = (this.#blocked.get(gate) ?? 0) - nowMs;
      if (waitMs > (closed?.waitMs ?? 0)) closed = { waitMs, blockedBy: gate };
      else if (waitMs <= 0) this.#blocked.delete(gate);
    }
    return closed;
  }
}

/** The leases of tokens that were spent, in the order of the gates' keys; null if there were none. */
function spentFrom({ costs }: Reserved, rates: readonly GateName[], gateKeys: readonly number[]): bigint[] | null {
  if (costs.every(({ leaseId }) => leaseId === 0n)) return null;
  return rates
    .map(({ limit, key }, index) => {
      const leaseId = costs.find((cost) => cost.limit === limit && cost.key === key)?.leaseId ?? 0n;
      return { gateKey: gateKeys[index]!, leaseId };
    })
    .toSorted((a, b) => a.gateKey - b.gateKey)
    .map(({ leaseId }) => leaseId);
}
