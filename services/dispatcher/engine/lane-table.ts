import type { Clock } from "#libs/clock/clock.ts";
import { Batcher } from "#libs/db/batcher.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { gateKeys, laneKeys, laneName, type GateName, type LaneParts } from "../sql/lanes.ts";

/** A lane with the keys of its gates. */
export interface Lane {
  readonly laneKey: number;
  /** In the order in which the gates were named. */
  readonly rateGates: readonly number[];
  readonly slotGates: readonly number[];
}

interface Wanted {
  readonly rates: readonly GateName[];
  readonly slots: readonly GateName[];
  readonly routeKey: number;
}

interface Known {
  readonly lane: Lane;
  readonly loadedMs: number;
}

// Lanes that nobody asked for in an hour are forgotten; whoever has known one for this long asks again.
const knownForMs = 600_000;
const mostKnown = 100_000;

/** The keys of lanes and gates, which are made as they are needed. */
export class LaneTable {
  readonly #pool: ConnectionPool;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();
  readonly #batcher: Batcher<Wanted, Lane>;

  constructor(pool: ConnectionPool, clock: Clock) {
    this.#pool = pool;
    this.#clock = clock;
    this.#batcher = new Batcher({ maxItems: 200, run: (wanted) => this.#make(wanted) });
  }

  /** The lane of tasks that these gates count. With slots it is of one route. */
  async of(wanted: Wanted): Promise<Lane> {
    const name = nameOf(wanted);
    const known = this.#known.get(name);
    const nowMs = this.#clock.monotonic();
    if (known !== undefined && nowMs - known.loadedMs < knownForMs) return known.lane;
    const lane = await this.#batcher.add(wanted);
    this.#known.delete(name);
    this.#known.set(name, { lane, loadedMs: nowMs });
    if (this.#known.size > mostKnown) {
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest);
        break;
      }
    }
    return lane;
  }

  async #make(wanted: readonly Wanted[]): Promise<Lane[]> {
    const names = new Map<string, GateName>();
    for (const { rates, slots } of wanted) for (const gate of [...rates, ...slots]) names.set(gateName(gate), gate);
    const keys = await gateKeys(this.#pool, [...names.values()]);
    const byName = new Map([...names.keys()].map((name, index) => [name, keys[index]!]));
    const parts = wanted.map(({ rates, slots, routeKey }) => ({
      routeKey: slots.length > 0 ? routeKey : 0,
      rates: rates.map((gate) => byName.get(gateName(gate))!),
      slots: slots.map((gate) => byName.get(gateName(gate))!),
    }));
    const rows = parts.map(({ routeKey, rates, slots }): LaneParts => ({
      routeKey,
      rateGates: rates.toSorted(ascending),
      slotGates: slots.toSorted(ascending),
    }));
    const lanes = await laneKeys(this.#pool, [...new Map(rows.map((row) => [laneName(row), row])).values()]);
    return parts.map(({ rates, slots }, index) => ({
      laneKey: lanes.get(laneName(rows[index]!))!,
      rateGates: rates,
      slotGates: slots,
    }));
  }
}

const ascending = (a: number, b: number): number => a - b;

/** None of the three holds a line feed. */
export function gateName({ namespace, limit, key }: GateName): string {
  return `${namespace}\n${limit}\n${key}`;
}

function nameOf({ rates, slots, routeKey }: Wanted): string {
  return `${slots.length > 0 ? routeKey : 0}\n\n${rates.map(gateName).join("\n\n")}\n\n\n${slots.map(gateName).join("\n\n")}`;
}
