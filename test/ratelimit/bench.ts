// Checks a second of Acquire against an embedded Postgres that syncs to disk: node test/ratelimit/bench.ts [seconds] [keys]
import { create } from "@bufbuild/protobuf";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { AcquireRequestSchema } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { temporaryDirectory } from "../db/temporary-directory.ts";
import { Acquirer } from "../../services/ratelimit/acquirer.ts";
import { LimitsCache } from "../../services/ratelimit/limits-cache.ts";
import { runRateLimit, tokens } from "./running.ts";
import { openStore, storeLimit } from "./store.ts";

const seconds = Number(process.argv[2] ?? 3);
const keys = Number(process.argv[3] ?? 10_000);

await using directory = await temporaryDirectory();
await using postgres = await startEmbeddedPostgres({ dataDir: directory.path });
await using pool = await openStore(postgres.connectionString);
await storeLimit(pool, {
  name: "l",
  per: [{ kind: { case: "user", value: true } }],
  kind: tokens(1_000, 1_000, 100_000),
});

const request = (size: number, reserve: boolean) =>
  create(AcquireRequestSchema, {
    acquisitions: Array.from({ length: size }, () => ({
      user: `user-${Math.floor(Math.random() * keys)}`,
      ...(reserve && { reservationId: crypto.randomUUID() }),
    })),
  });

async function measure(
  name: string,
  size: number,
  inFlight: number,
  reserve: boolean,
  call: (of: ReturnType<typeof request>) => Promise<unknown>,
) {
  const requests = Array.from({ length: Math.ceil(20_000 / size) }, () => request(size, reserve));
  const latenciesMs: number[] = [];
  const run = async (untilMs: number, record: boolean) => {
    for (let i = Math.floor(Math.random() * requests.length); performance.now() < untilMs; i++) {
      const startedMs = performance.now();
      await call(reserve ? request(size, true) : requests[i % requests.length]!);
      if (record) latenciesMs.push(performance.now() - startedMs);
    }
  };
  const together = (forMs: number, record: boolean) => {
    const untilMs = performance.now() + forMs;
    return Promise.all(Array.from({ length: inFlight }, () => run(untilMs, record)));
  };
  await together(500, false);
  const startedMs = performance.now();
  await together(seconds * 1_000, true);
  const elapsedS = (performance.now() - startedMs) / 1_000;
  latenciesMs.sort((a, b) => a - b);
  const at = (share: number) => latenciesMs[Math.floor(latenciesMs.length * share)]?.toFixed(1) ?? "-";
  const rate = Math.round((latenciesMs.length * size) / elapsedS).toLocaleString("en");
  console.log(
    `${name}, ${size} a call, ${inFlight} in flight: ${rate} checks/s, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`,
  );
}

const limits = new LimitsCache(pool);
await limits.reload();
const acquirer = new Acquirer({ pool, limits, concurrency: 2 });
const inProcess = (of: ReturnType<typeof request>) => acquirer.acquire(of.acquisitions);
await measure("in process", 1, 1, false, inProcess);
await measure("in process", 1, 1_000, false, inProcess);
await measure("in process", 100, 4, false, inProcess);
await measure("in process", 500, 4, false, inProcess);
await measure("in process, reserved", 500, 4, true, inProcess);
await using service = await runRateLimit(postgres.connectionString, { LOG_LEVEL: "error" });
await measure("gRPC", 1, 64, false, (of) => service.client.acquire(of));
await measure("gRPC", 100, 4, false, (of) => service.client.acquire(of));
await measure("gRPC", 500, 4, false, (of) => service.client.acquire(of));
