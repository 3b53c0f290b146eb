import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { ManualClock } from "#libs/clock/manual-clock.ts";
import { closeMeshLimits, rateLimit, RateLimitedError, type RateLimitOptions } from "#libs/limits/index.ts";
import { errorReason } from "#libs/rpc/errors.ts";
import { freePorts } from "../harness/free-ports.ts";
import { testDatabase } from "../harness/postgres.ts";
import { runRateLimit, tokens } from "../ratelimit/running.ts";

const stack = new AsyncDisposableStack();
after(async () => {
  await closeMeshLimits();
  await stack.disposeAsync();
});

/** A function that notes when it is called, and with what. */
function noted(options: RateLimitOptions<[string, number?]>) {
  const clock = new ManualClock();
  const calls: [string, number][] = [];
  const limited = rateLimit<[string, number?]>({ clock, ...options })((what) => {
    calls.push([what, clock.monotonic()]);
    return what.toUpperCase();
  });
  return { clock, calls, limited };
}

test("calls wait for their turn, in their order, and get what the function returns", async () => {
  const { clock, calls, limited } = noted({ calls: 2, periodMs: 100 });
  const results = Promise.all(["a", "b", "c", "d", "e"].map((what) => limited(what)));
  await clock.advance(1_000);
  assert.deepEqual(await results, ["A", "B", "C", "D", "E"]);
  assert.deepEqual(calls, [
    ["a", 0],
    ["b", 0],
    ["c", 100],
    ["d", 100],
    ["e", 200],
  ]);
});

test("with a burst it is a token bucket", async () => {
  const { clock, calls, limited } = noted({ calls: 2, periodMs: 100, burst: 3 });
  const results = Promise.all(["a", "b", "c", "d", "e"].map((what) => limited(what)));
  await clock.advance(1_000);
  await results;
  assert.deepEqual(
    calls.map(([, atMs]) => atMs),
    [0, 0, 0, 50, 100],
  );
});

test("a cheap call behind a dear one does not pass it", async () => {
  const { clock, calls, limited } = noted({ calls: 3, periodMs: 100, burst: 3, cost: (_, cost = 1) => cost });
  const results = [limited("a", 2), limited("b", 3), limited("c", 1)];
  await clock.advance(1_000);
  await Promise.all(results);
  assert.deepEqual(
    calls.map(([what, atMs]) => `${what} ${Math.round(atMs)}`),
    ["a 0", "b 67", "c 101"],
  );
});

test("a turn that would come too late is refused as soon as that is known, with the wait", async () => {
  const { clock, calls, limited } = noted({ calls: 1, periodMs: 100, maxWaitMs: 150 });
  const results = ["a", "b", "c"].map((what) => limited(what).catch((error: unknown) => error));
  await turn();
  await clock.advance(100);
  const third = await results[2];
  assert.ok(third instanceof RateLimitedError);
  assert.deepEqual([third.retryDelayMs, clock.monotonic()], [100, 100]);
  assert.equal(third.message, "The limit of 1 calls in 100 ms is reached; try again in 100 ms.");
  assert.equal(calls.length, 2);

  const now = noted({ calls: 1, periodMs: 100, maxWaitMs: 0 });
  await now.limited("a");
  await assert.rejects(now.limited("b"), { retryDelayMs: 100 });
  now.clock.setTimer(() => {}, 30);
  await now.clock.advance(30);
  await assert.rejects(now.limited("b"), { retryDelayMs: 70 });
  await now.clock.advance(70);
  assert.equal(await now.limited("b"), "B");
});

test("a call that could never pass is refused, and the others go on", async () => {
  const { limited } = noted({ calls: 3, periodMs: 100, cost: (_, cost = 1) => cost });
  const [never, fine] = [limited("a", 4), limited("b", 1)];
  await assert.rejects(never, (error: RateLimitedError) => {
    assert.equal(error.message, "A call that costs 4 could never pass the limit of 3 calls in 100 ms.");
    return error.retryDelayMs === undefined;
  });
  assert.equal(await fine, "B");
  assert.throws(() => rateLimit({ calls: 0, periodMs: 100 }), /calls must be a whole number from 1/);
});

test("each key has its own limit, and what the function throws is thrown", async () => {
  const clock = new ManualClock();
  const limited = rateLimit<[string]>({ calls: 1, periodMs: 100, key: (user) => user, maxWaitMs: 0, clock })(
    async function call(this: { name: string }, user: string) {
      if (user === "eve") throw new Error(`not ${user}`);
      return `${this.name} ${user}`;
    },
  );
  const object = { name: "n", limited };
  assert.equal(await object.limited("ada"), "n ada");
  assert.equal(await object.limited("bob"), "n bob");
  await assert.rejects(object.limited("ada"), RateLimitedError);
  await assert.rejects(object.limited("eve"), /not eve/);
});

test("with the name of a limit of the mesh all functions under it share what there is", async () => {
  const { connectionString } = stack.use(await testDatabase());
  const service = stack.use(await runRateLimit(connectionString, { LOG_LEVEL: "error" }));
  const address = `127.0.0.1:${service.grpcPort}`;
  const perUser = [{ kind: { case: "user" as const, value: true as const } }];
  const kind = tokens(20, 86_400_000);
  await service.client.setLimit({ limit: { name: "api", unit: "llm_tokens", kind, per: perUser } });
  const make = () => rateLimit<[string]>({ limit: "api", address, key: (user) => user, maxWaitMs: 0 })((user) => user);
  const [one, two] = [make(), make()];
  const all = Array.from({ length: 30 }, (_, i) => (i % 2 === 0 ? one : two)("ada"));
  const outcomes = await Promise.allSettled(all);
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 20);
  for (const outcome of outcomes) {
    if (outcome.status === "fulfilled") continue;
    assert.ok(outcome.reason instanceof RateLimitedError && (outcome.reason.retryDelayMs ?? 0) > 0);
  }
  assert.equal(await one("bob"), "bob");
  await closeMeshLimits();
  assert.equal(Number((await service.client.getLimit({ name: "api", key: "bob" })).states[0]?.remaining), 19);
  const nowhere = rateLimit({ limit: "nowhere", address })(() => 1);
  await assert.rejects(nowhere(), (error) => errorReason(error) === "LIMIT_NOT_FOUND");
});

test("a limit of the mesh that cannot be asked says so", async () => {
  const [port] = await freePorts(1);
  const limited = rateLimit({ limit: "api", address: `127.0.0.1:${port}` })(() => 1);
  await assert.rejects(limited(), (error) => errorReason(error) === "RATE_LIMIT_UNREACHABLE");
});
