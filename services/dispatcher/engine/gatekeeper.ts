import type { Client } from "@connectrpc/connect";
import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import type { Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { RateLimitService } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import type { Logger } from "#libs/telemetry/logger.ts";
import { askRates } from "./ask-rates.ts";
import { unitIntervalMs } from "./buckets.ts";
import {
  planRound,
  settleRound,
  spread,
  type LaneEnd,
  type RoundGate,
  type RoundLane,
  type RoundTask,
} from "../core/round.ts";
import {
  claimHeads,
  endRound,
  nextHeadDelayMs,
  readGates,
  readParked,
  type ClaimedLane,
  type GateRow,
} from "../sql/rounds.ts";
import { decodeSpec } from "./lease-book.ts";
import type { LaneAdmission, LimitSource } from "./lane-admission.ts";
import type { LiveRoute, RouteTable } from "./route-table.ts";

const lanesAtOnce = 100;
const tasksAtOnce = 500;
// A lane whose Dispatcher dies is taken over after this.
const claimMs = 5_000;
// Others park too, so nobody rests for longer than this.
const longestRestMs = 1_000;
// Slots that come free are told of at once; this is for when the one that freed them died before it could.
const recheckMs = 2_000;
const atOnce: LaneEnd = { delayMs: -1, blockedBy: null };
const mostSlots = 2_147_483_647;

export interface Parked extends RoundTask {
  readonly segment: number;
  readonly spec: TaskSpec;
}

/** A gate with its limit as it is now; undefined if that is gone. */
export interface LiveGate extends RoundGate {
  readonly row: GateRow;
  readonly limit: Limit | undefined;
}

export interface GatekeeperParts {
  readonly pool: ConnectionPool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly routes: RouteTable;
  readonly rateLimit: Client<typeof RateLimitService>;
  readonly limits: Pick<LimitSource, "admit"> & {
    find(namespace: string, name: string): Limit | undefined;
    /** How much longer a bucket is paused, milliseconds; 0: it is not. */
    pauseMs(gate: { namespace: string; limit: string; key: string }): number;
  };
  readonly admission: LaneAdmission;
  /** A task costs more than a limit ever admits. */
  onNever(laneKey: number, task: Parked): Promise<void>;
  readonly onQueued: (route: LiveRoute, rank: number, taskKey: number) => void;
}

/**
 * Lets parked tasks on, lane by lane, each lane in its order: what their rates admit and has its slots goes into the queue. Any
 * replica works on any lane, one at a time.
 */
export class Gatekeeper implements Disposable {
  readonly #parts: GatekeeperParts;
  /** Gates with slots that somebody waits for. */
  #freed = new Set<number>();
  #timer: Disposable | undefined;
  #nextMs = Infinity;
  #running = false;
  #stopped = false;

  constructor(parts: GatekeeperParts) {
    this.#parts = parts;
  }

  /** A lane's time comes that long from now. */
  expect(delayMs: number): void {
    const { clock } = this.#parts;
    if (this.#stopped) return;
    const atMs = clock.monotonic() + Math.min(Math.max(1, delayMs), longestRestMs);
    if (atMs >= this.#nextMs) return;
    this.#nextMs = atMs;
    if (this.#running) return;
    this.#timer?.[Symbol.dispose]();
    this.#timer = clock.setTimer(() => void this.#run(), atMs - clock.monotonic());
  }

  /** Gates have slots that somebody waits for. */
  freed(gateKeys: readonly number[]): void {
    for (const key of gateKeys) this.#freed.add(key);
    if (gateKeys.length > 0) this.expect(0);
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    this.#timer?.[Symbol.dispose]();
  }

  /** Works on all lanes whose time has come. */
  async tick(): Promise<void> {
    while (!this.#stopped) {
      const freed = [...this.#freed];
      this.#freed = new Set();
      let lanes: number;
      try {
        lanes = await this.#round(freed);
      } catch (error) {
        for (const key of freed) this.#freed.add(key);
        throw error;
      }
      if (lanes < lanesAtOnce && this.#freed.size === 0) return;
    }
  }

  async #run(): Promise<void> {
    const { pool, clock, log } = this.#parts;
    this.#running = true;
    this.#nextMs = Infinity;
    let restMs = longestRestMs;
    try {
      await this.tick();
      restMs = (await nextHeadDelayMs(pool)) ?? longestRestMs;
    } catch (err) {
      log.debug("parked tasks could not be looked at", { err });
    }
    this.#running = false;
    const expectedMs = this.#nextMs - clock.monotonic();
    this.#nextMs = Infinity;
    this.expect(Math.min(restMs, expectedMs));
  }

  /** @returns how many lanes it worked on. */
  async #round(freed: readonly number[]): Promise<number> {
    const { pool, routes, onQueued } = this.#parts;
    const claimed = await claimHeads(pool, freed, { limit: lanesAtOnce, claimMs });
    if (claimed.length === 0) return 0;
    const gates = await this.#gates(claimed);
    const lanes = await this.#lanes(claimed);
    const plan = planRound(lanes, gates);
    const answers = await askRates(this.#parts, plan.candidates, gates);
    for (const [{ lane, task }, answer] of answers) {
      if (answer === "never") await this.#parts.onNever(lane.laneKey, task);
    }
    const { going, ends } = settleRound(plan, (candidate) => answers.get(candidate));
    const spreadEnds = spread(ends, (key) => {
      const limit = gates.get(key)?.limit;
      return limit === undefined ? 0 : unitIntervalMs(limit);
    });
    const moved = await endRound(pool, {
      lanes: claimed.map(({ lane_key: laneKey, turn }) => ({ laneKey, turn, ...(spreadEnds.get(laneKey) ?? atOnce) })),
      tasks: going.map(({ lane, task }) => ({ laneKey: lane.laneKey, rank: task.rank, taskKey: task.taskKey })),
      maxima: [...gates].flatMap(([gateKey, { max }]) => (max === undefined ? [] : [{ gateKey, max }])),
      recheckMs,
    });
    for (const { routeKey, rank, taskKey } of moved) {
      const route = routes.get(routeKey);
      // One that was added elsewhere a moment ago: the poll of the queue finds it.
      if (route !== undefined) onQueued(route, rank, taskKey);
    }
    for (const { delayMs, blockedBy } of ends.values()) {
      if (blockedBy !== null && delayMs > 0) this.#parts.admission.blocked(blockedBy, delayMs);
    }
    return claimed.length;
  }

  async #lanes(claimed: readonly ClaimedLane[]): Promise<RoundLane<Parked>[]> {
    const each = Math.max(1, Math.floor(tasksAtOnce / claimed.length));
    const keys = claimed.map((lane) => lane.lane_key);
    const rows = Map.groupBy(await readParked(this.#parts.pool, keys, each), (row) => row.lane_key);
    return claimed.map((lane) => ({
      laneKey: lane.lane_key,
      isServed: lane.is_served,
      rateGates: lane.rate_gates,
      slotGates: lane.slot_gates,
      tasks: (rows.get(lane.lane_key) ?? []).map((row) => ({
        rank: row.rank,
        taskKey: row.task_key,
        segment: row.segment,
        paid: row.paid || lane.rate_gates.length === 0,
        spec: decodeSpec(row.spec),
      })),
    }));
  }

  async #gates(claimed: readonly ClaimedLane[]): Promise<Map<number, LiveGate>> {
    const { pool, limits } = this.#parts;
    const keys = new Set(claimed.flatMap((lane) => [...lane.rate_gates, ...lane.slot_gates]));
    const rows = await readGates(pool, [...keys]);
    return new Map(
      rows.map((row) => {
        const limit = limits.find(row.namespace, row.limit_name);
        const name = { namespace: row.namespace, limit: row.limit_name, key: row.bucket_key };
        const max = limit?.kind.case === "concurrency" ? Math.min(mostSlots, Number(limit.kind.value.max)) : undefined;
        // A pause of a limit that is gone is none.
        const pauseMs = limit === undefined ? 0 : Math.max(row.pause_ms, limits.pauseMs(name));
        return [row.gate_key, { row, limit, held: row.held, max, pauseMs }];
      }),
    );
  }
}
