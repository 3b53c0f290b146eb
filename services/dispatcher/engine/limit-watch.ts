import { equals } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Clock } from "#libs/clock/clock.ts";
import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { LimitSchema, type Limit } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import type { Pause } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { pauseGate, wakeLimit } from "../sql/notes.ts";
import type { GateName } from "../sql/lanes.ts";
import { gateName } from "./lane-table.ts";

export interface LimitWatchParts {
  readonly pool: ConnectionPool;
  readonly clock: Clock;
  readonly limits: { readonly all: readonly Limit[]; readonly pauses: readonly Pause[] };
  /** Limits changed, or a pause was ended by hand: who waits may go on. */
  readonly onEased: () => void;
  readonly onSlotsFreed: (gateKeys: number[]) => void;
}

// An answer tells how much longer a pause lasts, so its end as it is counted here wavers.
const jitterMs = 1_000;

/** Sees what of the limits changed since the last look, and lets it hold for what is parked and queued. */
export class LimitWatch {
  readonly #parts: LimitWatchParts;
  #seen: readonly Limit[] | undefined;
  #seenPauses: readonly Pause[] | undefined;
  #byName = new Map<string, Limit>();
  /** As it was at the last tick; undefined: there was none. */
  #handled: ReadonlyMap<string, Limit> | undefined;
  /** Each pause with its end, milliseconds, monotonic. */
  #pauses = new Map<string, { gate: GateName; endMs: number }>();
  /** Pauses that are not yet in force here. */
  #pending = new Map<string, { gate: GateName; endMs: number }>();

  constructor(parts: LimitWatchParts) {
    this.#parts = parts;
  }

  find(namespace: string, name: string): Limit | undefined {
    this.#look();
    return this.#byName.get(`${namespace}\n${name}`);
  }

  pauseMs(gate: GateName): number {
    this.#look();
    return Math.max(0, (this.#pauses.get(gateName(gate))?.endMs ?? 0) - this.#parts.clock.monotonic());
  }

  /** To be called after the limits were read. */
  async tick(): Promise<void> {
    const { pool, clock, onEased, onSlotsFreed } = this.#parts;
    this.#look();
    const isNew = this.#handled !== undefined && this.#handled !== this.#byName;
    const changed = isNew ? changedLimits(this.#handled!, this.#byName) : [];
    const byName = this.#byName;
    for (const { namespace, name } of changed) await wakeLimit(pool, namespace, name);
    for (const [name, { gate, endMs }] of this.#pending) {
      const freed = await pauseGate(pool, gate, endMs - clock.monotonic());
      this.#pending.delete(name);
      if (endMs > clock.monotonic()) onSlotsFreed(freed);
      else onEased();
    }
    this.#handled = byName;
    if (changed.length > 0) onEased();
  }

  #look(): void {
    const { all, pauses } = this.#parts.limits;
    if (all !== this.#seen) {
      this.#seen = all;
      this.#byName = new Map(all.map((limit) => [`${limit.namespace}\n${limit.name}`, limit]));
    }
    if (pauses === this.#seenPauses) return;
    this.#seenPauses = pauses;
    const nowMs = this.#parts.clock.monotonic();
    const now = new Map(
      pauses.map((pause) => {
        const gate = { namespace: pause.namespace, limit: pause.limit, key: pause.key };
        const endMs = nowMs + (pause.remaining === undefined ? 0 : durationMs(pause.remaining));
        return [gateName(gate), { gate, endMs }];
      }),
    );
    for (const [name, pause] of now) {
      const before = this.#pauses.get(name);
      if (before === undefined || Math.abs(before.endMs - pause.endMs) > jitterMs) this.#pending.set(name, pause);
    }
    for (const [name, { gate, endMs }] of this.#pauses) {
      // Gone before its time: somebody ended it.
      if (!now.has(name) && endMs > nowMs + jitterMs) this.#pending.set(name, { gate, endMs: nowMs });
    }
    this.#pauses = now;
  }
}

function changedLimits(before: ReadonlyMap<string, Limit>, now: ReadonlyMap<string, Limit>): Limit[] {
  const changed = [...now.values()].filter((limit) => {
    const old = before.get(`${limit.namespace}\n${limit.name}`);
    return old !== undefined && !equals(LimitSchema, old, limit);
  });
  const gone = [...before].filter(([name]) => !now.has(name)).map(([, limit]) => limit);
  return [...changed, ...gone];
}
