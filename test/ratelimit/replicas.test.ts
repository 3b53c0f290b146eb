import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { RateLimitService } from "#libs/proto/legion/ratelimit/v1/ratelimit_service_pb.ts";
import { createClient, GrpcChannel } from "#libs/rpc/grpc-client.ts";
import { freePorts } from "../harness/free-ports.ts";
import { MeshProcess } from "../harness/mesh-process.ts";
import { ownPostgres } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";
import { tokens } from "./running.ts";
import { migrateRateLimit } from "./store.ts";

const main = fileURLToPath(new URL("../../services/ratelimit/main.ts", import.meta.url));

/** Used for certain within these times of this machine's monotonic clock. */
interface Use {
  readonly fromMs: number;
  readonly untilMs: number;
}

type Arbiter = Client<typeof RateLimitService>;

/** Somebody who takes as much as it can get of one limit: of its own leases, which it now and then forgets, or one by one. */
class Taker {
  readonly uses: Use[] = [];
  readonly #limit: string;
  readonly #arbiters: readonly Arbiter[];
  readonly #holderId: string;
  failures = 0;

  constructor(limit: string, arbiters: readonly Arbiter[], holderId: string) {
    this.#limit = limit;
    this.#arbiters = arbiters;
    this.#holderId = holderId;
  }

  async run(signal: AbortSignal): Promise<void> {
    for (let i = 0; !signal.aborted; i++) {
      const arbiter = this.#arbiters[i % this.#arbiters.length]!;
      try {
        if (i % 3 === 0) await this.#acquire(arbiter);
        else await this.#lease(arbiter, i);
      } catch {
        this.failures++;
      }
    }
  }

  async #acquire(arbiter: Arbiter): Promise<void> {
    const fromMs = performance.now();
    const acquisitions = Array.from({ length: 3 }, () => ({ limits: [this.#limit] }));
    const { results } = await arbiter.acquire({ acquisitions }, { timeoutMs: 1_000 });
    const untilMs = performance.now();
    for (const { allowed } of results) if (allowed) this.uses.push({ fromMs, untilMs });
  }

  async #lease(arbiter: Arbiter, turn: number): Promise<void> {
    const item = { limit: this.#limit };
    const sentMs = performance.now();
    const call = { holderId: this.#holderId, items: [{ ...item, want: 7n }] };
    const [grant] = (await arbiter.lease(call, { timeoutMs: 1_000 })).grants;
    const { granted, leaseId, leaseDuration } = grant!;
    if (granted === 0n) return;
    const endMs = sentMs + durationMs(leaseDuration!);
    const spends = turn % 5 === 0 ? granted : granted / 2n + 1n;
    for (let i = 0n; i < spends; i++) {
      const nowMs = performance.now();
      if (nowMs >= endMs) return;
      this.uses.push({ fromMs: nowMs, untilMs: nowMs });
    }
    const lastMs = performance.now();
    // As after a crash: nobody returns it.
    if (turn % 11 === 0) return;
    const ageNs = Math.floor((performance.now() - lastMs) * 1e6);
    const back = { returnLeaseId: leaseId, returnUnspent: granted - spends, returnLastUseAge: { nanos: ageNs } };
    await arbiter.lease({ holderId: this.#holderId, items: [{ ...item, ...back }] }, { timeoutMs: 1_000 });
  }
}

/** Whatever lies wholly between the first's begin and another's end is at most what `most` allows for that time. */
function assertWithin(limit: string, uses: readonly Use[], most: (ms: number) => number): void {
  const byEnd = uses.toSorted((a, b) => a.untilMs - b.untilMs);
  for (const { fromMs } of uses) {
    let count = 0;
    for (const later of byEnd) {
      if (later.fromMs < fromMs) continue;
      count++;
      // A thousandth and a millisecond, for the clocks of two processes.
      const ms = (later.untilMs - fromMs) * 1.001 + 1;
      if (most(ms) === Infinity) break;
      assert.ok(count <= most(ms), `${limit}: ${count} in ${ms} ms, ${most(ms)} allowed`);
    }
  }
}

test("two replicas killed in turns, and Postgres: nothing is used beyond its limit, and it goes on", async () => {
  await using postgres = await ownPostgres();
  await migrateRateLimit(postgres.connectionString);
  await using stack = new AsyncDisposableStack();
  const ports = await freePorts(4);
  const replicas = [0, 1].map((i) => {
    const [grpcPort, httpPort] = [ports[2 * i]!, ports[2 * i + 1]!];
    const env = {
      ...process.env,
      DATABASE_URL: postgres.connectionString,
      POOL_SIZE: "4",
      BIND_HOST: "127.0.0.1",
      GRPC_PORT: `${grpcPort}`,
      HTTP_PORT: `${httpPort}`,
      TOKEN_LEASE: "700ms",
    };
    const replica = new MeshProcess({ name: `ratelimit-${i}`, main, env, grpcPort, httpPort });
    stack.defer(() => replica.kill());
    return replica;
  });
  await Promise.all(replicas.map((replica) => replica.start()));
  const arbiters = replicas.map(({ address }) => createClient(RateLimitService, stack.use(new GrpcChannel(address))));

  const window = (count: bigint) => ({ case: "slidingWindow", value: { count, window: { seconds: 1n } } }) as const;
  const limits = {
    bucket: { kind: tokens(60, 1_000, 30), most: (ms: number) => 30 + (60 * ms) / 1_000 },
    window: { kind: window(50n), most: (ms: number) => (ms < 1_000 ? 50 : Infinity) },
    coarse: { kind: window(130n), most: (ms: number) => (ms < 1_000 ? 130 : Infinity) },
  } as const;
  for (const [name, { kind }] of Object.entries(limits)) await arbiters[0]!.setLimit({ limit: { name, kind } });

  const takers = Object.keys(limits).flatMap((limit) =>
    ["a", "b"].map((who) => ({ limit, taker: new Taker(limit, arbiters, `${limit}-${who}`) })),
  );
  const stop = new AbortController();
  const running = takers.map(({ taker }) => taker.run(stop.signal));
  const usesOf = (limit: string) => takers.filter((each) => each.limit === limit).flatMap(({ taker }) => taker.uses);
  const more = async (count: number, describe: string) => {
    const before = new Map(Object.keys(limits).map((limit) => [limit, usesOf(limit).length]));
    const enough = () => [...before].every(([limit, had]) => usesOf(limit).length >= had + count);
    await waitFor(enough, { describe, timeoutMs: 60_000 });
  };
  await more(60, "uses before anything is killed");
  await replicas[0]!.kill();
  await more(30, "uses of the replica that is left");
  await replicas[0]!.start();
  await replicas[1]!.kill();
  await more(30, "uses of the other");
  await postgres.kill();
  replicas[1]!.spawn();
  await postgres.restart();
  await more(60, "uses after Postgres was killed");
  stop.abort();
  await Promise.all(running);

  assert.ok(takers.some(({ taker }) => taker.failures > 0));
  for (const [limit, { most }] of Object.entries(limits)) assertWithin(limit, usesOf(limit), most);
});
