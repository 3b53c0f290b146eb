import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { boundedLabel, type Metrics } from "#libs/telemetry/metrics.ts";
import { readCounters } from "../sql/counters.ts";
import { parkedByLimit } from "../sql/find-parked.ts";
import { queueDepth } from "../sql/routes.ts";
import type { RouteTable } from "./route-table.ts";

interface Depth {
  tasks: number;
  oldestSeconds: number;
}

/** What the database knows that a scrape wants to see; read now and then, not at each scrape. */
export class Gauges {
  readonly #pool: ConnectionPool;
  readonly #routes: RouteTable;
  readonly #label: (capability: string) => string;
  readonly #limitLabel = boundedLabel([""], 100);
  #depths = new Map<string, Depth>();
  #states: [number, { state: string }][] = [];
  #parked: [number, { limit: string }][] = [];

  constructor(pool: ConnectionPool, routes: RouteTable, metrics: Metrics, label: (capability: string) => string) {
    this.#pool = pool;
    this.#routes = routes;
    this.#label = label;
    const byCapability = (value: (depth: Depth) => number) => () =>
      [...this.#depths].map(([capability, depth]) => [value(depth), { capability }] as const);
    metrics.observableGauge(
      "queue_tasks",
      "Tasks that wait for an agent",
      byCapability(({ tasks }) => tasks),
    );
    metrics.observableGauge(
      "queue_oldest_age_seconds",
      "Age of the oldest task that waits for an agent",
      byCapability(({ oldestSeconds }) => oldestSeconds),
    );
    metrics.observableGauge(
      "parked_tasks",
      "Tasks that a limit holds back, by the limit; empty: it was not asked yet",
      () => this.#parked,
    );
    metrics.observableGauge("tasks", "Tasks by state; final states count since the first start", () => this.#states);
  }

  async tick(): Promise<void> {
    const depths = new Map<string, Depth>();
    // A capability whose queue has run empty is shown as 0, so that graphs come down.
    for (const capability of this.#depths.keys()) depths.set(capability, { tasks: 0, oldestSeconds: 0 });
    for (const { route_key, tasks, oldest_seconds } of await queueDepth(this.#pool)) {
      const capability = this.#label(this.#routes.get(route_key)?.capability ?? "other");
      const depth = depths.get(capability) ?? { tasks: 0, oldestSeconds: 0 };
      const oldestSeconds = Math.max(depth.oldestSeconds, oldest_seconds ?? 0);
      depths.set(capability, { tasks: depth.tasks + tasks, oldestSeconds });
    }
    this.#depths = depths;
    const held = new Map(this.#parked.map(([, { limit }]) => [limit, 0]));
    for (const { limit_name, tasks } of await parkedByLimit(this.#pool)) {
      const limit = this.#limitLabel(limit_name ?? "");
      held.set(limit, (held.get(limit) ?? 0) + tasks);
    }
    this.#parked = [...held].map(([limit, tasks]) => [tasks, { limit }]);
    const counters = await readCounters(this.#pool);
    this.#states = [
      [counters.queued, { state: "QUEUED" }],
      [counters.scheduled, { state: "SCHEDULED" }],
      [counters.leased, { state: "LEASED" }],
      [counters.completed, { state: "COMPLETED" }],
      [counters.failed - counters.dead, { state: "FAILED" }],
      [counters.dead, { state: "DEAD" }],
      [counters.canceled, { state: "CANCELED" }],
    ];
  }
}
