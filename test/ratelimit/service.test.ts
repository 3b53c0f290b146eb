import assert from "node:assert/strict";
import { after, test } from "node:test";
import { WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { errorReason, errorViolations } from "#libs/rpc/errors.ts";
import { testDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";
import { runRateLimit, tokens } from "./running.ts";

const database = await testDatabase();
// Two replicas; the second would not learn of a change by itself within the time of a test.
const first = await runRateLimit(database.connectionString);
const second = await runRateLimit(database.connectionString, { LIMITS_POLL_INTERVAL: "1s" });
const { client } = first;
after(async () => {
  await first[Symbol.asyncDispose]();
  await second[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const user = { kind: { case: "user", value: true } } as const;
const refusedWith = (reason: string, field?: string) => (error: unknown) => {
  assert.equal(errorReason(error), reason, String(error));
  if (field !== undefined)
    assert.ok(
      errorViolations(error).some((violation) => violation.field === field),
      String(error),
    );
  return true;
};

test("two replicas admit together exactly the burst, each acquisition from all of its limits or none", async () => {
  const namespace = "exact";
  await client.setLimit({ limit: { namespace, name: "per-user", per: [user], kind: tokens(1, 86_400_000, 60) } });
  await client.setLimit({ limit: { namespace, name: "all", kind: tokens(1, 86_400_000, 100) } });
  const calls = Array.from({ length: 40 }, (_, i) => {
    const acquisitions = Array.from({ length: 5 }, (_each, j) => ({ namespace, user: j % 2 === 0 ? "ann" : "bob" }));
    return (i % 2 === 0 ? first : second).client.acquire({ acquisitions });
  });
  const results = (await Promise.all(calls)).flatMap((response) =>
    response.results.map((result, j) => ({ ...result, j })),
  );
  assert.equal(results.filter(({ allowed }) => allowed).length, 100);
  const ann = results.filter(({ allowed, j }) => allowed && j % 2 === 0).length;
  assert.ok(ann <= 60, `${ann} of ann's`);
  // What `all` refused was not taken from the users' own buckets.
  const { states } = await client.peek({ acquisition: { namespace, user: "ann" } });
  assert.deepEqual(
    states.map(({ name, key, remaining }) => [name, key, remaining]),
    [
      ["all", "", 0n],
      ["per-user", "ann", BigInt(60 - ann)],
    ],
  );
});

test("a refusal has its wait; a cost above the burst has none; a cost of nothing takes nothing", async () => {
  const namespace = "waits";
  await client.setLimit({ limit: { namespace, name: "l", kind: tokens(1, 3_600_000, 2) } });
  const cost = (amount: bigint) => ({ namespace, costs: [{ amount }] });
  const { results } = await client.acquire({ acquisitions: [cost(0n), cost(2n), cost(1n), cost(3n)] });
  assert.deepEqual(
    results.map(({ allowed }) => allowed),
    [true, true, false, false],
  );
  assert.equal(results[2]!.limit, "l");
  assert.ok(results[2]!.retryDelay!.seconds >= 3_599n && results[2]!.retryDelay!.seconds <= 3_600n);
  assert.equal(results[3]!.limit, "l");
  assert.equal(results[3]!.retryDelay, undefined);
  assert.equal(results[3]!.capacity, 2n);
  const peeked = await client.peek({ acquisition: cost(2n) });
  assert.equal(peeked.result!.allowed, false);
  assert.equal(peeked.states[0]!.remaining, 0n);
  assert.ok(peeked.result!.retryDelay!.seconds >= 7_199n);
});

test("a change holds at once at this replica and, by the hint, at the others; the revision tells of it", async () => {
  const namespace = "changes";
  const before = (await second.client.listLimits({ namespace })).revision;
  const { limit } = await client.setLimit({
    limit: { name: "l", namespace, kind: tokens(10, 3_600_000), whenUnreachable: WhenUnreachable.FAIL_OPEN },
  });
  assert.ok(limit!.updateTime !== undefined);
  const listed = await second.client.listLimits({ namespace });
  assert.deepEqual(listed.limits, [limit]);
  assert.ok(listed.revision > before);

  await client.acquire({ acquisitions: [{ namespace, costs: [{ amount: 8n }] }] });
  // 2 are left of 10. Raising the burst adds room, not tokens; lowering it cuts what is there.
  await client.setLimit({ limit: { namespace, name: "l", kind: tokens(10, 3_600_000, 50) } });
  const remaining = async () => (await client.peek({ acquisition: { namespace } })).states[0]!.remaining;
  assert.equal(await remaining(), 2n);
  await client.setLimit({ limit: { namespace, name: "l", kind: tokens(1, 3_600_000) } });
  assert.equal(await remaining(), 1n);
  // A decision compares the revision in its transaction, so an outdated copy of the limits decides nothing.
  const two = await second.client.acquire({ acquisitions: [{ namespace }, { namespace }] });
  assert.deepEqual(
    two.results.map(({ allowed }) => allowed),
    [true, false],
  );

  await client.deleteLimit({ namespace, name: "l" });
  await assert.rejects(client.deleteLimit({ namespace, name: "l" }), refusedWith("LIMIT_NOT_FOUND"));
  assert.equal((await second.client.acquire({ acquisitions: [{ namespace }] })).results[0]!.allowed, true);
  assert.deepEqual((await client.listLimits({ namespace })).limits, []);
});

test("what cannot be set, or is not there, is refused with its reason and field", async () => {
  const set = (limit: Parameters<typeof client.setLimit>[0]["limit"]) =>
    client.setLimit({ limit: { name: "bad", ...limit } });
  await assert.rejects(set({ kind: tokens(0, 1_000) }), refusedWith("INVALID_REQUEST", "limit.token_bucket.tokens"));
  await assert.rejects(set({ kind: tokens(1, 1_000, -1) }), refusedWith("INVALID_REQUEST", "limit.token_bucket.burst"));
  await assert.rejects(set({ kind: tokens(1, 0) }), refusedWith("INVALID_REQUEST", "limit.token_bucket.period"));
  await assert.rejects(
    set({ kind: tokens(999_999_999_989, 31_000_000_001, 10 ** 12) }),
    refusedWith("INVALID_REQUEST", "limit.token_bucket"),
  );
  await assert.rejects(
    set({ kind: tokens(1, 1_000), per: [user, user] }),
    refusedWith("INVALID_REQUEST", "limit.per[1]"),
  );
  const never = { case: "slidingWindow", value: { count: 0n, window: { seconds: 1n } } } as const;
  await assert.rejects(set({ kind: never }), refusedWith("INVALID_REQUEST", "limit.sliding_window.count"));
  await assert.rejects(set({ kind: tokens(0, 1_000) }), /A rate of 0 would never admit anything/);
  await assert.rejects(
    set({ kind: tokens(1, 1_000), whenUnreachable: WhenUnreachable.SAFE_CAPACITY }),
    refusedWith("INVALID_REQUEST", "limit.safe_rate_per_second"),
  );
  assert.deepEqual((await client.listLimits({ namespace: "default" })).limits, []);

  await assert.rejects(client.acquire({ acquisitions: [{}, { limits: ["none"] }] }), refusedWith("LIMIT_NOT_FOUND"));
  await assert.rejects(client.peek({ acquisition: { limits: ["none"] } }), refusedWith("LIMIT_NOT_FOUND"));
  await assert.rejects(client.lease({ holderId: "h", items: [{ limit: "none" }] }), refusedWith("LIMIT_NOT_FOUND"));
  await assert.rejects(client.acquire({ acquisitions: [] }), refusedWith("INVALID_REQUEST", "acquisitions"));
  await assert.rejects(client.settle({ settlements: [{ reservationId: "a\0b" }] }), refusedWith("INVALID_REQUEST"));
  await assert.rejects(client.deleteLimit({ name: "a\0b" }), refusedWith("INVALID_REQUEST"));
  await assert.rejects(client.getLimit({ name: "none" }), refusedWith("LIMIT_NOT_FOUND"));
  await assert.rejects(client.pauseLimit({ limit: "none" }), refusedWith("LIMIT_NOT_FOUND"));
});

test("reserve and settle conserve, also when the same reservation comes to both replicas at once", async () => {
  const namespace = "reserves";
  await client.setLimit({ limit: { namespace, name: "llm", unit: "llm", kind: tokens(1, 86_400_000, 10_000) } });
  const names = Array.from({ length: 20 }, (_, i) => `task-${i}`);
  const acquisitions = names.map((reservationId) => ({
    namespace,
    reservationId,
    costs: [{ unit: "llm", amount: 100n }],
  }));
  const both = await Promise.all([
    client.acquire({ acquisitions }),
    second.client.acquire({ acquisitions: acquisitions.toReversed() }),
  ]);
  assert.ok(both.every(({ results }) => results.every(({ allowed }) => allowed)));
  const remaining = async () => (await client.peek({ acquisition: acquisitions[0]! })).states[0]!.remaining;
  assert.equal(await remaining(), 8_000n);

  const settlements = names.map((reservationId) => ({
    namespace,
    reservationId,
    costs: [{ unit: "llm", amount: 30n }],
  }));
  const counts = await Promise.all([
    client.settle({ settlements }),
    second.client.settle({ settlements: settlements.toReversed() }),
  ]);
  assert.equal(counts[0].settled + counts[1].settled, 20);
  assert.equal(await remaining(), 9_400n);
  await client.acquire({ acquisitions });
  assert.equal(await remaining(), 9_400n);
});

test("leased tokens are gone from the bucket until they are returned", async () => {
  const namespace = "leases";
  await client.setLimit({ limit: { namespace, name: "l", per: [user], kind: tokens(1, 86_400_000, 10) } });
  const item = { namespace, limit: "l", key: "ann" };
  const { grants } = await client.lease({
    holderId: "d1",
    items: [
      { ...item, want: 7n },
      { ...item, want: 7n },
    ],
  });
  assert.deepEqual(
    grants.map(({ granted }) => granted),
    [7n, 3n],
  );
  assert.equal(grants[0]!.leaseDuration!.seconds, 5n);
  assert.ok(grants[1]!.retryDelay!.seconds > 3_600n);
  const state = async () => (await client.peek({ acquisition: { namespace, user: "ann" } })).states[0]!;
  assert.deepEqual([(await state()).remaining, (await state()).leased], [0n, 10n]);
  assert.equal(
    (await second.client.acquire({ acquisitions: [{ namespace, user: "ann" }] })).results[0]!.allowed,
    false,
  );
  await client.lease({ holderId: "d1", items: [{ ...item, returnLeaseId: grants[0]!.leaseId, returnUnspent: 100n }] });
  assert.deepEqual([(await state()).remaining, (await state()).leased], [7n, 3n]);
});

test("buckets that are full again are deleted, and that changes nothing", async () => {
  const namespace = "cleaned";
  await client.setLimit({ limit: { namespace, name: "l", per: [user], kind: tokens(1_000, 1_000, 3) } });
  await client.setLimit({ limit: { namespace, name: "slow", per: [user], kind: tokens(1, 86_400_000, 3) } });
  const users = Array.from({ length: 50 }, (_, i) => ({ namespace, user: `user-${i}` }));
  await client.acquire({ acquisitions: users });
  const cleaned = async () => {
    const metrics = await (await fetch(`${first.httpUrl}/metrics`)).text();
    return Number(/legion_ratelimit_cleaned_rows_total\{[^}]*table="buckets"[^}]*\} (\d+)/.exec(metrics)?.[1] ?? 0);
  };
  await waitFor(async () => (await cleaned()) >= 50, { describe: "50 deleted buckets" });
  const { states } = await client.peek({ acquisition: users[7]! });
  assert.deepEqual(
    states.map(({ remaining }) => remaining),
    [3n, 2n],
  );
});
