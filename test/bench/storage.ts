// What the Dispatcher's own statements do for a task, without the Dispatcher:
// node test/bench/storage.ts [--held] [--tasks 200000] [--older 7] [--rescan]
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { migrate } from "#libs/db/migrate.ts";
import { Watermark } from "../../services/dispatcher/core/watermark.ts";
import { claimTasks } from "../../services/dispatcher/sql/claim-tasks.ts";
import { foldCounters } from "../../services/dispatcher/sql/counters.ts";
import { insertTasks, type NewTask } from "../../services/dispatcher/sql/insert-tasks.ts";
import { poolSettings } from "../../services/dispatcher/sql/pool-settings.ts";
import { resolveAttempts, type Resolution } from "../../services/dispatcher/sql/resolve-attempts.ts";
import { makeSegments, readSegments } from "../../services/dispatcher/sql/segments.ts";
import { cpuTimesMs } from "./cpu.ts";

const { values: options } = parseArgs({
  options: {
    // A transaction of another session stays open all the while, as a backup's does.
    held: { type: "boolean", default: false },
    tasks: { type: "string", default: "200000" },
    // Segments of 200,000 tasks each beside the current one, in which ids have to be looked for.
    older: { type: "string", default: "0" },
    // The claim forgets once a second where the live part of the queue begins.
    rescan: { type: "boolean", default: false },
  },
});
const tasks = Number(options.tasks);
const slices = 10;
const routeKey = 1;
const instanceKey = 1;
const sessionKey = 1;
const spec = Buffer.alloc(250, "x");
const outcome = Buffer.alloc(200, "y");

const dataDir = await mkdtemp(join(process.env["BENCH_DIR"] ?? tmpdir(), "legion-bench-"));
try {
  await using postgres = await startEmbeddedPostgres({ dataDir });
  const { connectionString } = postgres;
  const directory = join(import.meta.dirname, "../../services/dispatcher/sql/migrations");
  await migrate(connectionString, { schema: "dispatcher", directory });
  await using pool = new ConnectionPool({ connectionString, schema: "dispatcher", settings: poolSettings });
  await using other = new ConnectionPool({ connectionString, schema: "dispatcher", max: 1, statementTimeoutMs: 0 });
  await makeSegments(pool);
  await addOlder(pool, Number(options.older));
  const { current } = await readSegments(pool);
  const place = { segment: current, instanceKey };
  await using holder = await other.getSession();
  if (options.held) await holder.execute("begin isolation level repeatable read; select 1");

  let lastId = 0;
  const newTasks = (count: number, direct: boolean): NewTask[] =>
    Array.from({ length: count }, () => ({
      namespace: "default",
      taskId: `0197f3a8-7b1e-7c3d-9e2f-${String(++lastId).padStart(12, "0")}`,
      capability: "noop",
      user: "",
      spec,
      routeKey,
      rank: 0,
      sessionKey: direct ? sessionKey : null,
      dueTimeMs: null,
    }));
  const resolution = (taskKey: number): Resolution => ({
    taskKey,
    attempt: 1,
    sessionKey,
    state: 4,
    outcome,
    attempts: 0,
    lastFailure: null,
    delayMs: 0,
  });
  const finish = async (taskKeys: number[]): Promise<void> => {
    const resolved = await resolveAttempts(pool, taskKeys.map(resolution));
    if (!resolved.every((held) => held !== false)) throw new Error("A lease was not there.");
  };

  const direct = async (count: number): Promise<void> => {
    const inserted = await insertTasks(pool, newTasks(count, true), place);
    await finish(inserted.map((task) => task!.taskKey));
  };
  const watermark = new Watermark();
  let rescannedMs = performance.now();
  const queued = async (count: number): Promise<void> => {
    await insertTasks(pool, newTasks(count, false), place);
    if (options.rescan && performance.now() - rescannedMs > 1_000) {
      watermark.reset();
      rescannedMs = performance.now();
    }
    const sessionKeys = new Array<number>(count).fill(sessionKey);
    const claimed = await claimTasks(pool, { routeKey, sessionKeys, from: watermark.begin(), instanceKey });
    if (claimed.length !== count) throw new Error(`Claimed ${claimed.length} of ${count}.`);
    watermark.advance(claimed.at(-1)!);
    await finish(claimed.map((task) => task.taskKey));
  };

  const header = [options.held ? "with a transaction held open" : "plain", `${options.older} older segments`];
  if (options.rescan) header.push("rescanning every second");
  const paths = { "leased at once: insert, resolve": direct, "through the queue: insert, claim, resolve": queued };
  const table: Record<string, Record<string, string>> = {};
  for (const [name, run] of Object.entries(paths)) {
    for (const count of [1, 10, 100]) {
      for (let warmUp = 0; warmUp < 20; warmUp++) await run(count);
      const rounds = Math.min(2_000, Math.ceil(40_000 / count));
      (table[name] ??= {})[`${count} a statement`] = await measure(postgres.pid!, rounds * count, async () => {
        for (let round = 0; round < rounds; round++) await run(count);
      });
    }
    const count = 500;
    const rounds = Math.ceil(tasks / count / slices);
    const slow: string[] = [];
    (table[name] ??= {})[`${count} a statement`] = await measure(postgres.pid!, rounds * count * slices, async () => {
      for (let slice = 0; slice < slices; slice++) {
        const startMs = performance.now();
        for (let round = 0; round < rounds; round++) await run(count);
        slow.push(`${Math.round((rounds * count) / (performance.now() - startMs))}k`);
        // As the Dispatcher does every ten seconds.
        await foldCounters(pool);
      }
    });
    table[name]["in ten slices, tasks/s"] = slow.join(" ");
  }
  console.log(`Tasks a second, and Postgres's CPU for each; ${header.join(", ")}; ${tasks} tasks at 500 a statement:`);
  console.table(table);
} finally {
  await rm(dataDir, { recursive: true, force: true });
}

async function measure(pid: number, count: number, run: () => Promise<void>): Promise<string> {
  const before = cpuTimesMs({ postgres: pid });
  const startMs = performance.now();
  await run();
  const elapsedMs = performance.now() - startMs;
  const cpuMs = cpuTimesMs({ postgres: pid })["postgres"]! - before["postgres"]!;
  return `${Math.round(count / (elapsedMs / 1_000))}/s, ${((cpuMs * 1_000) / count).toFixed(0)} µs`;
}

async function addOlder(pool: ConnectionPool, count: number): Promise<void> {
  const { current } = await readSegments(pool);
  for (let back = 1; back <= count; back++) {
    const segment = current - back;
    await pool.transaction(async (session) => {
      for (const table of ["tasks", "outcomes"]) {
        await session.execute(`
          create table ${table}_${segment} (like ${table} including all);
          alter table ${table} attach partition ${table}_${segment} for values in (${segment})`);
      }
      await session.execute(`
        insert into tasks (segment, task_key, namespace, task_id, capability, user_name, submit_time, spec)
        select ${segment}, nextval('task_keys'), 'default', gen_random_uuid(), 'noop', '', now(), '\\x00'
        from generate_series(1, 200000)`);
    });
  }
}
