// Checks that are answered from leases, against a RateLimit service of its own process and an embedded Postgres that syncs to disk:
// node test/bench/limits-leased.ts [--seconds 5] [--keys 100]
import { parseArgs } from "node:util";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "#libs/clock/clock.ts";
import { startEmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import type { Subject } from "#libs/limits/limit-index.ts";
import { TokenHolder } from "#libs/limits/token-holder.ts";
import { RateLimitService } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { temporaryDirectory } from "../db/temporary-directory.ts";
import { freePorts } from "../harness/free-ports.ts";
import { MeshProcess } from "../harness/mesh-process.ts";
import { tokens } from "../ratelimit/running.ts";
import { migrateRateLimit } from "../ratelimit/store.ts";

const { values } = parseArgs({
  options: { seconds: { type: "string", default: "5" }, keys: { type: "string", default: "100" } },
});
const seconds = Number(values.seconds);
const keys = Number(values.keys);
/** Checks before the event loop turns. */
const inARow = 200;

await using directory = await temporaryDirectory();
await using postgres = await startEmbeddedPostgres({ dataDir: directory.path });
await migrateRateLimit(postgres.connectionString);
const [grpcPort = 0, httpPort = 0] = await freePorts(2);
const service = new MeshProcess({
  name: "ratelimit",
  main: new URL("../../services/ratelimit/main.ts", import.meta.url).pathname,
  grpcPort,
  httpPort,
  env: {
    ...process.env,
    DATABASE_URL: postgres.connectionString,
    GRPC_PORT: String(grpcPort),
    HTTP_PORT: String(httpPort),
    LOG_LEVEL: "error",
  },
});
await service.start();
await using _ = { [Symbol.asyncDispose]: () => service.kill("SIGKILL") };
await using channel = new GrpcChannel(service.address);
const client = createClient(RateLimitService, channel);
const log = { info: () => {}, warn: console.error };

/** When each unit was used, by key: milliseconds. */
type Uses = Map<string, number[]>;

async function measure(name: string, perSecond: number, burst: number, holders: number): Promise<void> {
  const per = [{ kind: { case: "user" as const, value: true as const } }];
  const selector = { capabilities: [name] };
  await client.setLimit({ limit: { name, per, selector, kind: tokens(perSecond, 1_000, burst) } });
  await using stack = new AsyncDisposableStack();
  const all = Array.from({ length: holders }, (_each, i) =>
    stack.use(new TokenHolder({ client, holderId: `${name}-${i}`, clock: systemClock, log })),
  );
  for (const one of all) {
    one.start();
    await one.poll();
  }
  const subjects = Array.from({ length: keys }, (_each, i): Subject => ({
    namespace: "default",
    capability: name,
    user: `u${i}`,
    labels: [],
    costs: [],
  }));
  const uses: Uses = new Map(subjects.map(({ user }) => [user, []]));
  const latenciesMs = new Float64Array(20_000_000);
  const count = { checks: 0, admitted: 0, local: 0 };
  let waiting = 0;
  const note = (atMs: number, user: string, isAdmitted: boolean, record: boolean): void => {
    const nowMs = performance.now();
    if (isAdmitted) uses.get(user)!.push(nowMs);
    if (!record) return;
    latenciesMs[count.checks++] = nowMs - atMs;
    if (isAdmitted) count.admitted++;
  };
  const run = async (forMs: number, record: boolean): Promise<void> => {
    const untilMs = performance.now() + forMs;
    for (let i = 0; performance.now() < untilMs;) {
      for (let n = 0; n < inARow && i < 1e9; n++, i++) {
        const subject = subjects[i % keys]!;
        const one = all[i % holders]!;
        const atMs = performance.now();
        const decision = one.decide(subject);
        if (decision !== undefined) {
          if (record) count.local++;
          note(atMs, subject.user, decision.kind === "admitted", record);
        } else if (waiting < 200) {
          waiting++;
          void one.admit(subject).then((late) => {
            waiting--;
            note(atMs, subject.user, late.kind === "admitted", record);
          });
        }
      }
      await turn();
    }
  };
  await run(1_500, false);
  const before = process.cpuUsage();
  const startMs = performance.now();
  await run(seconds * 1_000, true);
  const elapsedS = (performance.now() - startMs) / 1_000;
  const { user, system } = process.cpuUsage(before);
  const sorted = latenciesMs.slice(0, count.checks).toSorted();
  const at = (share: number): string => `${((sorted[Math.floor(count.checks * share)] ?? 0) * 1_000).toFixed(1)} µs`;
  const cpuS = (user + system) / 1e6;
  const grouped = (value: number): string => Math.round(value).toLocaleString("en");
  console.log(
    [
      `${name}: ${grouped(count.checks / elapsedS)} checks/s (${grouped(count.checks / cpuS)} a second of CPU)`,
      `${((100 * count.local) / count.checks).toFixed(2)} % answered here, ${((100 * count.admitted) / count.checks).toFixed(1)} % admitted`,
      `p50 ${at(0.5)}, p99 ${at(0.99)}, p99.9 ${at(0.999)}`,
      `most over the limit in any interval: ${mostOver(uses, perSecond, burst)}`,
    ].join("; "),
  );
}

/** By how many units the use of a key exceeded burst + rate · t in its worst interval; 0 or less is within the limit. */
function mostOver(uses: Uses, perSecond: number, burst: number): string {
  let worst = -Infinity;
  for (const times of uses.values()) {
    // used(i..j) − rate · (tj − ti), at its largest over i ≤ j, by running minima.
    let least = Infinity;
    for (const [index, atMs] of times.entries()) {
      const level = index - (perSecond * atMs) / 1_000;
      least = Math.min(least, level);
      worst = Math.max(worst, level + 1 - least - burst);
    }
  }
  return worst > 0 ? `${worst.toFixed(2)} TOO MANY` : `0 (${(-worst).toFixed(1)} below it)`;
}

await measure("below-1-holder", 100_000, 100_000, 1);
await measure("below-2-holders", 100_000, 100_000, 2);
await measure("above-2-holders", 500, 500, 2);
