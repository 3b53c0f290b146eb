import assert from "node:assert/strict";
import { after, test } from "node:test";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { testDatabase } from "../harness/postgres.ts";
import { runRateLimit, tokens } from "./running.ts";

const database = await testDatabase();
const first = await runRateLimit(database.connectionString);
const second = await runRateLimit(database.connectionString);
const { client } = first;
after(async () => {
  await first[Symbol.asyncDispose]();
  await second[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

const user = { kind: { case: "user", value: true } } as const;
const window = (count: bigint, seconds: number) =>
  ({ case: "slidingWindow", value: { count, window: { seconds: BigInt(seconds) } } }) as const;
const day = 86_400_000;

test("a window and a bucket together admit what both allow, at two replicas, and say the longer wait", async () => {
  const namespace = "mixed";
  await client.setLimit({ limit: { namespace, name: "window", kind: window(30n, 3_600) } });
  await client.setLimit({ limit: { namespace, name: "bucket", per: [user], kind: tokens(1, day, 20) } });
  await client.setLimit({ limit: { namespace, name: "at-once", kind: { case: "concurrency", value: { max: 0n } } } });
  const calls = Array.from({ length: 20 }, (_, i) => {
    const acquisitions = ["ann", "bob", "ann"].map((name) => ({ namespace, user: name }));
    return (i % 2 === 0 ? first : second).client.acquire({ acquisitions });
  });
  const results = (await Promise.all(calls)).flatMap((response) => response.results);
  // The concurrency limit is the Dispatcher's to hold: it refuses nothing here.
  assert.equal(results.filter(({ allowed }) => allowed).length, 30);
  const [refused] = (await client.acquire({ acquisitions: [{ namespace, user: "carl" }] })).results;
  assert.deepEqual([refused!.limit, refused!.capacity], ["window", 30n]);
  const waitS = durationMs(refused!.retryDelay!) / 1_000;
  assert.ok(waitS > 3_500 && waitS <= 3_600, `${waitS} s`);
  const { states } = await client.peek({ acquisition: { namespace, user: "carl" } });
  assert.deepEqual(
    states.map(({ name, remaining }) => [name, remaining]),
    [
      ["bucket", 20n],
      ["window", 0n],
    ],
  );
});

test("in order, nothing passes what was refused at a bucket it needs; calls do not hold each other up", async () => {
  const namespace = "order";
  await client.setLimit({ limit: { namespace, name: "l", per: [user], kind: tokens(1, day, 3) } });
  const of = (name: string, amount: bigint) => ({ namespace, user: name, costs: [{ amount }] });
  const acquisitions = [of("ann", 2n), of("ann", 2n), of("ann", 4n), of("bob", 1n), of("ann", 1n)];
  const [ordered] = await Promise.all([
    client.acquire({ acquisitions, inOrder: true }),
    client.acquire({ acquisitions: [of("bob", 1n)] }),
  ]);
  assert.deepEqual(
    ordered.results.map(({ allowed }) => allowed),
    [true, false, false, true, false],
  );
  const [, blocker, never, , blocked] = ordered.results;
  assert.equal(never!.retryDelay, undefined);
  assert.ok(durationMs(blocked!.retryDelay!) >= durationMs(blocker!.retryDelay!));
  const free = await client.acquire({ acquisitions: [of("ann", 2n), of("ann", 1n)] });
  assert.deepEqual(
    free.results.map(({ allowed }) => allowed),
    [false, true],
  );
});

test("a pause refuses with its rest, is told to all who list, ends by itself or by hand, and is never shortened", async () => {
  const namespace = "pauses";
  await client.setLimit({ limit: { namespace, name: "l", per: [user], kind: tokens(10, 1_000) } });
  const before = await client.listLimits({ namespace });
  assert.deepEqual(await second.client.listLimits({ namespace, knownRevision: before.revision }), {
    ...before,
    limits: [],
  });
  const pause = (seconds: bigint) =>
    client.pauseLimit({ namespace, limit: "l", key: "ann", duration: { seconds, nanos: 0 } });
  const { pauseUntil } = await pause(60n);
  assert.deepEqual((await pause(30n)).pauseUntil, pauseUntil);

  const { limits, pauses, revision } = await second.client.listLimits({ namespace, knownRevision: before.revision });
  assert.equal(limits.length, 1);
  assert.ok(revision > before.revision);
  assert.deepEqual([pauses[0]!.limit, pauses[0]!.key, pauses.length], ["l", "ann", 1]);
  assert.ok(durationMs(pauses[0]!.remaining!) > 50_000);

  const acquisitions = [
    { namespace, user: "ann" },
    { namespace, user: "bob" },
  ];
  const { results } = await second.client.acquire({ acquisitions });
  assert.deepEqual(
    results.map(({ allowed, paused }) => [allowed, paused]),
    [
      [false, true],
      [true, false],
    ],
  );
  assert.ok(durationMs(results[0]!.retryDelay!) > 50_000);
  const item = { namespace, limit: "l", key: "ann", want: 1n };
  const { grants, revision: granted } = await second.client.lease({ holderId: "h", items: [item] });
  assert.deepEqual([grants[0]!.granted, granted], [0n, revision]);
  assert.ok(durationMs(grants[0]!.retryDelay!) > 50_000);
  assert.equal((await client.peek({ acquisition: acquisitions[0]! })).result!.paused, true);
  assert.deepEqual((await client.getLimit({ namespace, name: "l", key: "ann" })).states[0]!.pauseUntil, pauseUntil);

  assert.equal((await pause(0n)).pauseUntil, undefined);
  assert.equal((await second.client.acquire({ acquisitions })).results[0]!.allowed, true);
  assert.deepEqual((await client.listLimits({ namespace })).pauses, []);
});

test("what was spent from a lease is settled once, while it is out as after its return; a limit tells who holds what", async () => {
  const namespace = "leases";
  for (const [name, kind] of [
    ["bucket", tokens(1, day, 100)],
    ["window", window(100n, 86_400)],
  ] as const) {
    await client.setLimit({ limit: { namespace, name, unit: "llm", per: [user], kind } });
    const item = { namespace, limit: name, key: "ann" };
    const state = async () => (await client.getLimit({ namespace, name })).states;
    const lease = async (holderId: string, more: object) =>
      (await client.lease({ holderId, items: [{ ...item, ...more }] })).grants[0]!;
    const { leaseId } = await lease("d1", { want: 40n });
    await lease("d2", { want: 5n });
    const [held] = await state();
    assert.deepEqual([held!.key, held!.remaining, held!.leased], ["ann", 55n, 45n]);
    assert.deepEqual(
      held!.holders.map(({ holderId, leased }) => [holderId, leased]),
      [
        ["d1", 40n],
        ["d2", 5n],
      ],
    );
    const settle = (id: string, reserved: bigint, actual: bigint) =>
      second.client.settle({
        settlements: [
          { reservationId: `${name}/${id}`, namespace, adjustments: [{ ...item, reserved, actual, leaseId }] },
        ],
      });
    assert.equal((await settle("a", 10n, 4n)).settled, 1);
    assert.equal((await settle("a", 10n, 4n)).settled, 0);
    assert.deepEqual([(await state())[0]!.remaining, (await state())[0]!.leased], [61n, 39n]);
    // 30 of the 40 were spent, 6 of them given back.
    await lease("d1", { returnLeaseId: leaseId, returnUnspent: 10n });
    assert.deepEqual([(await state())[0]!.remaining, (await state())[0]!.leased], [71n, 5n]);
    await Promise.all([settle("b", 10n, 1n), settle("b", 10n, 1n)]);
    assert.equal((await state())[0]!.remaining, 80n);
    await settle("c", 10n, 15n);
    assert.equal((await state())[0]!.remaining, 75n);
    // No more than what is left of the 24 that were spent.
    await settle("d", 100n, 0n);
    assert.equal((await state())[0]!.remaining, 90n);
  }
});
