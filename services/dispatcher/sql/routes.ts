import type { ConnectionPool } from "#libs/db/connection-pool.ts";
import { int4Array } from "#libs/db/binary-array.ts";
import { prepared } from "#libs/db/statement.ts";

export interface RouteRow {
  readonly route_key: number;
  readonly namespace: string;
  readonly capability: string;
  readonly required_labels: string;
}

const add = prepared<{ route_key: number }>(
  "add_route",
  `
  insert into routes (namespace, capability, required_labels) values ($1, $2, $3)
  on conflict (namespace, capability, md5(required_labels)) do update set capability = excluded.capability
  returning route_key`,
);

export async function addRoute(
  pool: ConnectionPool,
  route: { namespace: string; capability: string; requiredLabels: string },
): Promise<number> {
  const [row] = await pool.run(add, [route.namespace, route.capability, route.requiredLabels]);
  return row!.route_key;
}

const list = prepared<RouteRow>(
  "list_routes",
  "select route_key, namespace, capability, required_labels from routes where route_key > $1 order by route_key",
);

/** The routes that were added after one of them; 0: all. */
export function routesAfter(pool: ConnectionPool, routeKey: number): Promise<RouteRow[]> {
  return pool.run(list, [routeKey]);
}

const waiting = prepared<{ route_key: number }>(
  "waiting_routes",
  `
  select r.route_key from unnest($1::int4[]) as r (route_key)
  where exists (select from queue q where q.route_key = r.route_key)`,
);

/** Which of the routes have a task in the queue. */
export async function waitingRoutes(pool: ConnectionPool, routeKeys: readonly number[]): Promise<number[]> {
  return (await pool.run(waiting, [int4Array(routeKeys)])).map((row) => row.route_key);
}

const depth = prepared<{ route_key: number; tasks: number; oldest_seconds: number | null }>(
  "queue_depth",
  `
  select q.route_key, q.tasks::float8, extract(epoch from now() - t.submit_time)::float8 as oldest_seconds
  from (
    select route_key, count(*) as tasks, (min(array[task_key, segment]))[1] as task_key, (min(array[task_key, segment]))[2] as segment
    from queue group by route_key
  ) q left join tasks t on t.segment = q.segment and t.task_key = q.task_key`,
);

/** How many tasks wait on each route, and how long the oldest has. */
export function queueDepth(
  pool: ConnectionPool,
): Promise<{ route_key: number; tasks: number; oldest_seconds: number | null }[]> {
  return pool.run(depth);
}
