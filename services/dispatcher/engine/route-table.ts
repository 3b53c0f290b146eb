import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import type { TaskSpec } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { labelPairs, routeName, type LabelPair, type Route } from "../core/route.ts";
import { Pace } from "../core/pace.ts";
import { Watermark } from "../core/watermark.ts";
import { addRoute, routesAfter, type RouteRow } from "../sql/routes.ts";

/** A route with what this process knows of its queue. */
export class LiveRoute implements Route {
  readonly routeKey: number;
  readonly namespace: string;
  readonly capability: string;
  readonly requiredLabels: readonly LabelPair[];
  readonly watermark = new Watermark();
  /** For looking at everything once more. */
  readonly pace = new Pace();
  /** Whether tasks may wait in the queue; nothing overtakes them. Unknown at first, which counts as yes. */
  backlog = true;
  /** Grows with every known insertion into the queue. */
  insertions = 0;
  /** How many tasks wait in the queue, at most; Infinity: nobody knows. */
  waiting = Infinity;
  /** Slots that a claim under way has taken for them. */
  reserved = 0;
  /** Slots that the last claim had no task for, less what new tasks have taken since. */
  spare = 0;
  claiming = false;

  constructor(row: RouteRow) {
    this.routeKey = row.route_key;
    this.namespace = row.namespace;
    this.capability = row.capability;
    this.requiredLabels = JSON.parse(row.required_labels) as LabelPair[];
  }
}

/** All routes that were ever used; there are few. */
export class RouteTable {
  readonly #pool: ConnectionPool;
  readonly #byName = new Map<string, LiveRoute>();
  readonly #byKey = new Map<number, LiveRoute>();
  readonly #adding = new Map<string, Promise<LiveRoute>>();
  #newest = 0;

  constructor(pool: ConnectionPool) {
    this.#pool = pool;
  }

  all(): IterableIterator<LiveRoute> {
    return this.#byKey.values();
  }

  get(routeKey: number): LiveRoute | undefined {
    return this.#byKey.get(routeKey);
  }

  /** The task's route, if this process knows it already. */
  known(task: TaskSpec): LiveRoute | undefined {
    return this.#byName.get(nameOf(task));
  }

  async of(task: TaskSpec): Promise<LiveRoute> {
    const name = nameOf(task);
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    let adding = this.#adding.get(name);
    if (adding === undefined) {
      adding = this.#add(task).finally(() => this.#adding.delete(name));
      this.#adding.set(name, adding);
    }
    return adding;
  }

  /** Learns of the routes that others added. */
  async refresh(): Promise<void> {
    for (const row of await routesAfter(this.#pool, this.#newest)) this.#learn(row);
  }

  async #add({ namespace, capability, requiredLabels }: TaskSpec): Promise<LiveRoute> {
    const labels = JSON.stringify(labelPairs(requiredLabels));
    const route_key = await addRoute(this.#pool, { namespace, capability, requiredLabels: labels });
    return this.#learn({ route_key, namespace, capability, required_labels: labels });
  }

  #learn(row: RouteRow): LiveRoute {
    const name = routeName(row.namespace, row.capability, row.required_labels);
    let route = this.#byName.get(name);
    if (route === undefined) {
      route = new LiveRoute(row);
      this.#byName.set(name, route);
      this.#byKey.set(route.routeKey, route);
    }
    // Keys are given out in order but committed in any: look back over the last few at each refresh.
    this.#newest = Math.max(this.#newest, row.route_key - 100);
    return route;
  }
}

function nameOf(task: TaskSpec): string {
  const labels = task.requiredLabels.length === 0 ? "[]" : JSON.stringify(labelPairs(task.requiredLabels));
  return routeName(task.namespace, task.capability, labels);
}
