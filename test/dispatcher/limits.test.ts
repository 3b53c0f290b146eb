import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Code, type ConnectError } from "@connectrpc/connect";
import { WhenUnreachable } from "#libs/proto/legion/ratelimit/v1/limit_pb.ts";
import { errorReason, errorRetryDelayMs } from "#libs/rpc/errors.ts";
import { waitFor } from "../harness/wait-for.ts";
import { tokens } from "../ratelimit/running.ts";
import { completed, createWorld, SubmitStream, type RunningDispatcher, type World } from "./harness.ts";

let world: World;
let dispatcher: RunningDispatcher;
const day = 86_400_000;

before(async () => {
  world = await createWorld();
  const { client } = world.rateLimit;
  const limit = (name: string, rest: object) =>
    client.setLimit({ limit: { namespace: "default", name, selector: { capabilities: [name] }, ...rest } });
  await limit("tight", { kind: tokens(3, day) });
  await limit("per-user", { kind: tokens(2, day), per: [{ kind: { case: "user", value: true } }] });
  await limit("costly", { unit: "llm_tokens", kind: tokens(1_000, day) });
  await limit("open", { kind: tokens(1_000, day), whenUnreachable: WhenUnreachable.FAIL_OPEN });
  await limit("busy", { kind: tokens(400, day) });
  await limit("closed", { kind: tokens(1_000, day), whenUnreachable: WhenUnreachable.FAIL_CLOSED });
  dispatcher = await world.dispatcher();
  const session = await (
    await world.registry(dispatcher)
  ).attach({
    capabilities: ["tight", "per-user", "costly", "open", "closed", "busy", "free"].map((name) => ({ name })),
  });
  session.work = () => completed();
});
after(() => world[Symbol.asyncDispose]());

const limited = (error: ConnectError): boolean => {
  assert.deepEqual([error.code, errorReason(error)], [Code.ResourceExhausted, "RATE_LIMITED"]);
  const retryDelayMs = errorRetryDelayMs(error) ?? 0;
  assert.ok(retryDelayMs > 0 && retryDelayMs <= day, String(retryDelayMs));
  return true;
};

test("over a limit a task is refused with the wait, nothing of it is stored, and a known id is let in again", async () => {
  const { client } = dispatcher;
  for (const n of [1, 2, 3]) await client.runTask({ task: { taskId: `tight-${n}`, capability: "tight" } });
  await assert.rejects(client.submitTask({ task: { taskId: "tight-4", capability: "tight" } }), limited);
  await assert.rejects(client.getTask({ taskId: "tight-4" }), { code: Code.NotFound });
  const { created } = await client.submitTask({ task: { taskId: "tight-2", capability: "tight" } });
  assert.equal(created, false);

  const stream = new SubmitStream(dispatcher);
  stream.send([
    { ref: 1n, task: { capability: "tight" } },
    { ref: 2n, task: { capability: "free" } },
  ]);
  const results = new Map((await stream.results.take(2)).map(({ ref, kind }) => [ref, kind.case]));
  assert.deepEqual([results.get(1n), results.get(2n)], ["error", "accepted"]);
  await stream.outcomes.next();
  stream.end();
  assert.equal(await stream.closed, undefined, "a refused task is not waited for");
  const elsewhere = await client.submitTask({ task: { capability: "tight", namespace: "other" } });
  assert.equal(elsewhere.created, true, "another namespace's limits are its own");
});

test("each user has a bucket, and many at once get exactly what there is", async () => {
  const { client } = dispatcher;
  const outcomes = await Promise.allSettled(
    Array.from({ length: 30 }, (_, i) => client.submitTask({ task: { capability: "per-user", user: `u${i % 3}` } })),
  );
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 6);
});

test("many tasks of one limit come in by a lease, exactly as many as there may, and one that is known is let in again", async () => {
  const stream = new SubmitStream(dispatcher);
  let accepted = 0;
  for (let frame = 0; frame < 30; frame++) {
    const tasks = Array.from({ length: 20 }, (_, i) => ({
      ref: BigInt(i),
      task: { taskId: `busy-${frame}-${i}`, capability: "busy" },
    }));
    stream.send(tasks, { omitOutcomes: true });
    const results = await stream.results.take(20);
    accepted += results.filter(({ kind }) => kind.case === "accepted").length;
    if (frame !== 5) continue;
    const { states } = await world.rateLimit.client.getLimit({ name: "busy" });
    assert.ok(states[0] && states[0].leased > 0n && states[0].holders.length === 1, "it holds a lease");
  }
  assert.equal(accepted, 400);
  const { created } = await dispatcher.client.submitTask({ task: { taskId: "busy-0-0", capability: "busy" } });
  assert.equal(created, false);
  const other = { taskId: "busy-0-0", capability: "busy", user: "eve" };
  await assert.rejects(dispatcher.client.submitTask({ task: other }), { code: Code.AlreadyExists });
  await assert.rejects(dispatcher.client.submitTask({ task: { capability: "busy" } }), limited);
  stream.end();
});

test("a cost beyond the burst could never pass and is refused for good", async () => {
  const { client } = dispatcher;
  const task = (amount: bigint) => ({ capability: "costly", costs: [{ unit: "llm_tokens", amount }] });
  await client.submitTask({ task: task(900n) });
  await assert.rejects(client.submitTask({ task: task(200n) }), limited);
  await assert.rejects(client.submitTask({ task: task(1_001n) }), { code: Code.InvalidArgument });
});

test("while RateLimit is away limits fail open or closed as they say, others are untouched, and it heals", async () => {
  const { client } = dispatcher;
  await world.rateLimit.stop();
  await client.runTask({ task: { capability: "open" } });
  await client.runTask({ task: { capability: "free" } });
  await assert.rejects(client.submitTask({ task: { capability: "closed" } }), (error: ConnectError) => {
    assert.deepEqual([error.code, errorReason(error)], [Code.Unavailable, "RATE_LIMIT_UNREACHABLE"]);
    return (errorRetryDelayMs(error) ?? 0) > 0;
  });
  await waitFor(async () => (await client.getHealth({})).status === "degraded", { describe: "health to say so" });
  await world.rateLimit.start();
  await waitFor(() => client.submitTask({ task: { capability: "closed" } }), {
    describe: "the limit to be asked again",
  });
});
