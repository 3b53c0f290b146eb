// Checks of limits beside rate-limiter-flexible, both on one embedded Postgres that syncs to disk:
// node test/bench/limits.ts [--seconds 3] [--keys 10000] [--parts]
import { parseArgs } from "node:util";
import { create } from "@bufbuild/protobuf";
import { Pool } from "pg";
import { RateLimiterPostgres } from "rate-limiter-flexible";
import { Batcher } from "#libs/db/batcher.ts";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { AcquireRequestSchema } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { temporaryDirectory } from "../db/temporary-directory.ts";
import { Acquirer } from "../../services/ratelimit/acquirer.ts";
import { LimitsCache } from "../../services/ratelimit/limits-cache.ts";
import { cpuTimesMs } from "./cpu.ts";
import { runRateLimit, tokens } from "../ratelimit/running.ts";
import { openStore, storeLimit } from "../ratelimit/store.ts";

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    keys: { type: "string", default: "10000" },
    // Also larger calls, windows, reservations, and the Acquirer without gRPC.
    parts: { type: "boolean", default: false },
  },
});
const seconds = Number(options.seconds);
const keys = Number(options.keys);
const connections = 10;
const count = 50;
const second = 1_000;

await using directory = await temporaryDirectory();
await using postgres = await startEmbeddedPostgres({ dataDir: directory.path });
await using store = await openStore(postgres.connectionString);
const per = [{ kind: { case: "user" as const, value: true } }];
const window = { case: "slidingWindow", value: { count: BigInt(count), window: { seconds: 1n } } } as const;
await storeLimit(store, { name: "bucket", per, kind: tokens(1_000, second, 100_000) });
await storeLimit(store, { name: "window", per, kind: window });
await using service = await runRateLimit(postgres.connectionString, { LOG_LEVEL: "error" });
const limits = new LimitsCache(store);
await limits.reload();
const acquirer = new Acquirer({ pool: store, limits, concurrency: 2 });

const peers = new Pool({ connectionString: postgres.connectionString, max: connections });
const peer = (name: string, points: number): Promise<RateLimiterPostgres> =>
  new Promise((resolve, reject) => {
    const limiter = new RateLimiterPostgres(
      { storeClient: peers, tableName: name, keyPrefix: "", points, duration: 1 },
      (error?: Error) => (error === undefined ? resolve(limiter) : reject(error)),
    );
  });
const theirs = await peer("peer_rate", 100_000);

const randomUser = () => `user-${Math.floor(Math.random() * keys)}`;
const request = (size: number, limit: string, reserve: boolean) =>
  create(AcquireRequestSchema, {
    acquisitions: Array.from({ length: size }, () => ({
      user: randomUser(),
      limits: [limit],
      ...(reserve && { reservationId: crypto.randomUUID() }),
    })),
  });

async function measure(name: string, size: number, inFlight: number, call: () => Promise<unknown>) {
  const latenciesMs: number[] = [];
  const run = async (untilMs: number, record: boolean) => {
    while (performance.now() < untilMs) {
      const startedMs = performance.now();
      await call();
      if (record) latenciesMs.push(performance.now() - startedMs);
    }
  };
  const together = (forMs: number, record: boolean) => {
    const untilMs = performance.now() + forMs;
    return Promise.all(Array.from({ length: inFlight }, () => run(untilMs, record)));
  };
  await together(500, false);
  const pids = { postgres: postgres.pid! };
  const before = cpuTimesMs(pids);
  const cpuBefore = process.cpuUsage();
  const startedMs = performance.now();
  await together(seconds * 1_000, true);
  const checks = latenciesMs.length * size;
  const rate = checks / ((performance.now() - startedMs) / 1_000);
  const { user, system } = process.cpuUsage(cpuBefore);
  const hereUs = (user + system) / checks;
  const postgresUs = ((cpuTimesMs(pids)["postgres"]! - before["postgres"]!) * 1_000) / checks;
  latenciesMs.sort((a, b) => a - b);
  const at = (share: number) => latenciesMs[Math.floor(latenciesMs.length * share)]?.toFixed(1) ?? "-";
  console.log(
    `${name}, ${size} a call, ${inFlight} in flight: ${Math.round(rate).toLocaleString("en")} checks/s, ` +
      `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms; CPU ${hereUs.toFixed(0)} us here, ${postgresUs.toFixed(0)} us Postgres`,
  );
  return { rate, cpuUs: hereUs + postgresUs };
}

/** The most that was admitted for certain within less than a second, by the times its calls were sent and answered. */
async function mostInOneSecond(attempt: () => Promise<boolean>): Promise<number> {
  const admitted: { fromMs: number; untilMs: number }[] = [];
  const endMs = performance.now() + 4_500;
  const run = async () => {
    while (performance.now() < endMs) {
      const fromMs = performance.now();
      if (await attempt()) admitted.push({ fromMs, untilMs: performance.now() });
    }
  };
  await Promise.all(Array.from({ length: 16 }, run));
  let most = 0;
  for (const { fromMs } of admitted) {
    const within = admitted.filter((other) => other.fromMs >= fromMs && other.untilMs - fromMs < second - 1);
    most = Math.max(most, within.length);
  }
  return most;
}

const consume = () => theirs.consume(randomUser()).catch(() => {});
const overGrpc =
  (size: number, limit: string, reserve = false) =>
  () =>
    service.client.acquire(request(size, limit, reserve));

// As a Dispatcher asks: what arrives while two calls are under way goes into the next.
const asking = new Batcher<string, boolean>({
  maxItems: 500,
  concurrency: 2,
  run: async (users) => {
    const acquisitions = users.map((user) => ({ user, limits: ["bucket"] }));
    const { results } = await service.client.acquire({ acquisitions });
    return results.map(({ allowed }) => allowed);
  },
});

for (const inFlight of [1, 64, 256, 1_000]) {
  const their = await measure("rate-limiter-flexible", 1, inFlight, consume);
  const our = await measure("RateLimit over gRPC", 1, inFlight, () => asking.add(randomUser()));
  const times = (a: number, b: number) => (a / b).toFixed(1);
  console.log(`  ${times(our.rate, their.rate)} times their checks/s, 1/${times(their.cpuUs, our.cpuUs)} of their CPU`);
}
if (options.parts) {
  await measure("Acquire over gRPC, a call each", 1, 64, overGrpc(1, "bucket"));
  const alone = () => acquirer.acquire(request(500, "bucket", false).acquisitions);
  await measure("Acquire without gRPC", 500, 4, alone);
  await measure("Acquire over gRPC", 100, 4, overGrpc(100, "bucket"));
  await measure("Acquire over gRPC", 500, 4, overGrpc(500, "bucket"));
  await measure("Acquire over gRPC, reserved", 500, 4, overGrpc(500, "bucket", true));
  await measure("Acquire over gRPC, windows", 500, 4, overGrpc(500, "window"));
}

const narrow = await peer("peer_narrow", count);
const theirMost = await mostInOneSecond(() =>
  narrow.consume("one").then(
    () => true,
    () => false,
  ),
);
const ourMost = await mostInOneSecond(async () => {
  const { results } = await service.client.acquire({ acquisitions: [{ user: "one", limits: ["window"] }] });
  return results[0]!.allowed;
});
console.log(
  `${count} a second, one key: at most ${theirMost} in a second with rate-limiter-flexible, ${ourMost} with Acquire`,
);
await peers.end();
