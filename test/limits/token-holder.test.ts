import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { systemClock } from "#libs/clock/clock.ts";
import type { RateLimitClient } from "#libs/limits/arbiter.ts";
import type { Decision } from "#libs/limits/decision.ts";
import type { Subject } from "#libs/limits/limit-index.ts";
import { TokenHolder } from "#libs/limits/token-holder.ts";
import { type LimitSchema, WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { legionError } from "#libs/rpc/errors.ts";
import { testDatabase } from "../harness/postgres.ts";
import { waitFor } from "../harness/wait-for.ts";
import { runRateLimit, tokens } from "../ratelimit/running.ts";

const stack = new AsyncDisposableStack();
const day = 86_400_000;
let service: Awaited<ReturnType<typeof runRateLimit>>;
let calls: Record<"acquire" | "lease" | "listLimits", number>;
let isAway: boolean;
let client: RateLimitClient;
let names = 0;

before(async () => {
  const { connectionString } = stack.use(await testDatabase());
  service = stack.use(await runRateLimit(connectionString, { LOG_LEVEL: "error" }));
});
after(() => stack.disposeAsync());

beforeEach(() => {
  calls = { acquire: 0, lease: 0, listLimits: 0 };
  isAway = false;
  const counted = <A extends unknown[], R>(name: keyof typeof calls, call: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      calls[name]++;
      if (isAway) throw legionError("DATABASE_UNAVAILABLE", "gone for a test");
      return await call(...args);
    };
  };
  client = {
    acquire: counted("acquire", service.client.acquire),
    lease: counted("lease", service.client.lease),
    listLimits: counted("listLimits", service.client.listLimits),
  };
});

const lines: string[] = [];
const log = {
  info: (message: string) => void lines.push(message),
  warn: (message: string, fields?: Record<string, unknown>) => void lines.push(`${message} ${JSON.stringify(fields)}`),
};

async function holder(): Promise<TokenHolder> {
  const one = stack.use(new TokenHolder({ client, holderId: `h${++names}`, clock: systemClock, log }));
  await one.poll();
  return one;
}

async function setLimit(init: MessageInitShape<typeof LimitSchema>): Promise<string> {
  const name = init.name ?? `limit-${++names}`;
  const perUser = { per: [{ kind: { case: "user" as const, value: true as const } }] };
  const limit = { ...perUser, selector: { capabilities: [name] }, ...(init as object), name };
  await service.client.setLimit({ limit });
  return name;
}

const subject = (capability: string, user = "ada", init: Partial<Subject> = {}): Subject => ({
  namespace: "default",
  capability,
  user,
  labels: [],
  costs: [],
  ...init,
});

const remaining = async (name: string, user = "ada"): Promise<number> => {
  const { states } = await service.client.getLimit({ name, key: user });
  return Number(states[0]?.remaining);
};

async function admitted(one: TokenHolder, what: Subject, times: number): Promise<number> {
  const decisions = await Promise.all(Array.from({ length: times }, () => one.admit(what)));
  return decisions.filter(({ kind }) => kind === "admitted").length;
}

const refusal = (decision: Decision) => {
  assert.equal(decision.kind, "refused");
  return decision.kind === "refused" ? decision.refusal : assert.fail();
};

test("a key in demand is spent from leases, and a holder that ends gives back what it did not use", async () => {
  const name = await setLimit({ kind: tokens(10_000, day) });
  const one = await holder();
  let here = 0;
  for (let i = 0; i < 100; i++) here += await admitted(one, subject(name), 20);
  assert.equal(here, 2_000);
  assert.ok(calls.acquire + calls.lease < 40, JSON.stringify(calls));
  assert.ok(one.heldBuckets === 1 && (await remaining(name)) < 8_000, "what is leased counts as spent");
  await one[Symbol.asyncDispose]();
  assert.equal(await remaining(name), 8_000);
});

test("several holders together admit exactly what there is, and each refusal states the wait", async () => {
  const name = await setLimit({ kind: tokens(500, day) });
  const holders = [await holder(), await holder(), await holder()] as const;
  const counts = [0, 0, 0];
  for (let round = 0; round < 20; round++) {
    await Promise.all(holders.map(async (one, i) => (counts[i]! += await admitted(one, subject(name), 20))));
  }
  const soFar = counts.reduce((sum, count) => sum + count);
  assert.ok(soFar <= 500, String(soFar));
  // What one of them has leased and does not use comes back when it ends.
  for (const one of holders.slice(1)) await one[Symbol.asyncDispose]();
  const rest = await admitted(holders[0], subject(name), 500);
  assert.equal(soFar + rest, 500);
  const { limit, key, retryDelayMs, capacity } = refusal(await holders[0].admit(subject(name)));
  assert.deepEqual([limit, key, capacity], [name, "ada", 500]);
  assert.ok(retryDelayMs !== undefined && retryDelayMs > 0 && retryDelayMs <= day / 500, String(retryDelayMs));
});

test("what is left of a lease and what the arbiter has left suffice together", async () => {
  const name = await setLimit({ kind: tokens(100, day) });
  const one = await holder();
  for (let i = 0; i < 10; i++) assert.equal(await admitted(one, subject(name), 2), 2);
  const there = await remaining(name);
  assert.ok(one.heldBuckets === 1 && there > 0 && there < 80, `${there} are not leased`);
  const all = subject(name, "ada", { costs: [{ unit: "", amount: 80n }] });
  assert.equal((await one.admit(all)).kind, "admitted");
  assert.equal((await one.admit(subject(name))).kind, "refused");
});

test("a rarely used key costs one Acquire and is not leased", async () => {
  const name = await setLimit({ kind: tokens(100, day) });
  const one = await holder();
  assert.equal(await admitted(one, subject(name), 1), 1);
  assert.deepEqual({ ...calls, listLimits: 0 }, { acquire: 1, lease: 0, listLimits: 0 });
  assert.equal(one.heldBuckets, 0);
});

test("the same reservation taken again by Acquire takes nothing more", async () => {
  const name = await setLimit({ kind: tokens(100, day) });
  const [one, two] = [await holder(), await holder()];
  await one.admit(subject(name), "id-1");
  await two.admit(subject(name), "id-1");
  assert.equal(await remaining(name), 99);
});

test("under a limit for all and one for each user the first is leased, and a refusal of the other gives it back", async () => {
  const shared = await setLimit({ kind: tokens(1_000, day), per: [] });
  await setLimit({ name: `${shared}-user`, kind: tokens(2, day), selector: { capabilities: [shared] } });
  const one = await holder();
  let here = 0;
  for (let i = 0; i < 60; i++) {
    here += await admitted(one, subject(shared, `user-${i}`), 3);
  }
  assert.equal(here, 120, "two for each user");
  assert.equal(one.heldBuckets, 1);
  await one[Symbol.asyncDispose]();
  assert.equal(await remaining(shared, ""), 880, "and the refused took nothing");
});

test("what was reserved and not used is there again", async () => {
  const name = await setLimit({ kind: tokens(1_000, day) });
  const one = await holder();
  for (let i = 0; i < 100; i++) await admitted(one, subject(name), 1);
  const decision = one.decide(subject(name));
  assert.ok(decision?.kind === "admitted" && decision.reservation.spendings.length === 1);
  one.release(decision.reservation);
  await one[Symbol.asyncDispose]();
  assert.equal(await remaining(name), 900);
});

test("a change and a pause hold at a holder within a second", async () => {
  const name = await setLimit({ kind: tokens(1_000, day) });
  const one = await holder();
  one.start();
  for (let i = 0; i < 50; i++) await admitted(one, subject(name), 4);
  assert.ok(one.heldBuckets === 1);
  await service.client.pauseLimit({ limit: name, key: "ada", duration: durationFromMs(day) });
  const pausedMs = performance.now();
  const refused = await waitFor(
    async () => {
      const decision = await one.admit(subject(name));
      return decision.kind === "refused" && decision.refusal;
    },
    { describe: "the pause to hold" },
  );
  assert.ok(performance.now() - pausedMs < 1_000);
  assert.deepEqual([refused.isPaused, refused.limit], [true, name]);
  assert.ok(refused.retryDelayMs! > day - 10_000 && refused.retryDelayMs! <= day);
  assert.equal(await admitted(one, subject(name, "eve"), 1), 1, "others go on");
  await service.client.pauseLimit({ limit: name, key: "ada", duration: durationFromMs(0) });
  await waitFor(async () => (await admitted(one, subject(name), 1)) === 1, { describe: "the pause to end" });

  for (let i = 0; i < 50; i++) await admitted(one, subject(name), 4);
  await setLimit({ name, kind: tokens(10, day) });
  const changedMs = performance.now();
  await waitFor(async () => (await one.admit(subject(name))).kind === "refused", { describe: "the change to hold" });
  assert.ok(performance.now() - changedMs < 1_000);
  await service.client.deleteLimit({ name });
  await waitFor(async () => one.decide(subject(name))?.kind === "admitted", { describe: "the deletion to hold" });
});

test("while the arbiter is away leases are used up, then each limit's policy holds, and the log has one line for each change", async () => {
  const leased = await setLimit({ kind: tokens(1_000, day) });
  const open = await setLimit({ kind: tokens(10, day), whenUnreachable: WhenUnreachable.FAIL_OPEN });
  const safe = await setLimit({
    kind: tokens(10, day),
    whenUnreachable: WhenUnreachable.SAFE_CAPACITY,
    safeRatePerSecond: 5,
  });
  const one = await holder();
  for (let i = 0; i < 100; i++) await admitted(one, subject(leased), 1);
  lines.length = 0;
  isAway = true;
  const kinds = async (name: string, times: number): Promise<Record<string, number>> => {
    const all = await Promise.all(Array.from({ length: times }, (_, i) => one.admit(subject(name, `user-${i}`))));
    return Object.fromEntries(
      ["admitted", "unreachable"].map((kind) => [kind, all.filter((each) => each.kind === kind).length]),
    );
  };
  assert.deepEqual(await kinds(open, 30), { admitted: 30, unreachable: 0 });
  assert.deepEqual(await kinds(safe, 30), { admitted: 5, unreachable: 25 });
  assert.deepEqual(await kinds(leased, 30), { admitted: 0, unreachable: 30 });
  const fromLease = await admitted(one, subject(leased), 1_000);
  assert.ok(fromLease > 0 && fromLease <= 900, String(fromLease));
  assert.equal(one.isReachable, false);
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, new RegExp(`"fail_open":\\["default/${open}"\\],"safe_capacity":\\["default/${safe}"\\]`));
  await one.poll();
  isAway = false;
  await one.poll();
  assert.match(lines[1] ?? "", /answers again/);
  assert.equal(lines.length, 2);
  const decision = await one.admit(subject(open));
  assert.ok(decision.kind === "admitted" && decision.reservation.counted.length === 1, "counted again");
});

test("while the arbiter is away one task may pass by a lease and by a policy, and a pause goes on", async () => {
  const shared = await setLimit({ kind: tokens(1_000, day), per: [] });
  const whenUnreachable = WhenUnreachable.FAIL_OPEN;
  const selector = { capabilities: [shared] };
  await setLimit({ name: `${shared}-user`, kind: tokens(20, day), selector, whenUnreachable });
  await service.client.pauseLimit({ limit: `${shared}-user`, key: "eve", duration: durationFromMs(day) });
  const one = await holder();
  for (let i = 0; i < 60; i++) await admitted(one, subject(shared, `user-${i}`), 1);
  isAway = true;
  const decision = await one.admit(subject(shared, "new"));
  assert.ok(decision.kind === "admitted");
  assert.deepEqual(
    decision.reservation.counted.map(({ bucket }) => bucket.limit.name),
    [shared],
  );
  assert.equal((await one.admit(subject(shared, "eve"))).kind, "unreachable");
  isAway = false;
  await one.poll();
  await one[Symbol.asyncDispose]();
  assert.equal(await remaining(shared, ""), 939);
});

test("what could never pass is said to be so, by both kinds", async () => {
  const name = await setLimit({ kind: tokens(20, 1_000) });
  const window = { case: "slidingWindow", value: { count: 20n, window: durationFromMs(1_000) } } as const;
  const other = await setLimit({ kind: window });
  const one = await holder();
  for (const each of [name, other]) {
    const { retryDelayMs, capacity } = refusal(
      await one.admit(subject(each, "ada", { costs: [{ unit: "", amount: 21n }] })),
    );
    assert.deepEqual([retryDelayMs, capacity], [undefined, 20]);
  }
});

test("a limit named that does not exist is an error, and one that was deleted meanwhile holds nobody up", async () => {
  const shared = await setLimit({ kind: tokens(1_000, day), per: [] });
  await setLimit({ name: `${shared}-user`, kind: tokens(2, day), selector: { capabilities: [shared] } });
  const one = await holder();
  await assert.rejects(one.admit(subject(shared, "ada", { limits: ["nowhere"] })), /no limit nowhere/);
  for (let i = 0; i < 50; i++) await admitted(one, subject(shared, `user-${i}`), 1);
  await service.client.deleteLimit({ name: `${shared}-user` });
  assert.equal(await admitted(one, subject(shared, "user-0"), 5), 5);
});
