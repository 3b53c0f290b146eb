import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectionPool } from "#libs/db/connection-pool.ts";
import { TaskState, WhenLimited } from "#libs/proto/legion/dispatcher/v1/task_pb.ts";
import { forgetUnused } from "../../services/dispatcher/sql/lanes.ts";
import { tokens } from "../ratelimit/running.ts";
import { waitFor } from "../harness/wait-for.ts";
import { Held, perUser, query, setLimits } from "./gates-world.ts";
import { completed, createWorld, whenState } from "./harness.ts";

const day = 86_400_000;
const whenLimited = WhenLimited.WAIT;

test("a waiting task that could never pass any more ends, says why, and lets the next one pass", async () => {
  await using world = await createWorld();
  const dispatcher = await world.dispatcher();
  const { client } = dispatcher;
  await setLimits(world, [dispatcher], [{ name: "work", capability: "work", kind: tokens(5, day, 5) }]);
  const held = new Held();
  await using _registry = await held.attach(dispatcher, ["work"]);
  const submit = (taskId: string, cost: bigint) =>
    client.submitTask({ task: { taskId, capability: "work", whenLimited, costs: [{ unit: "", amount: cost }] } });
  await submit("first", 5n);
  await submit("large", 5n);
  await submit("small", 1n);
  assert.match((await whenState(client, "small", TaskState.QUEUED)).waitingReason, /1 task is before it$/);
  await world.rateLimit.client.setLimit({
    limit: { name: "work", selector: { capabilities: ["work"] }, kind: tokens(3_000, 1_000, 3) },
  });
  const { outcome } = await whenState(client, "large", TaskState.FAILED);
  assert.equal(outcome?.kind.case, "failed");
  assert.deepEqual(
    [outcome.kind.value.code, outcome.kind.value.retryable, outcome.kind.value.message],
    [
      "COST_EXCEEDS_LIMIT",
      false,
      "The task costs more than a limit ever admits; the limit was made smaller while the task waited.",
    ],
  );
  await waitFor(() => held.order.length === 2, { describe: "the next one" });
  assert.deepEqual(held.order, ["first", "small"]);
});

test("what limits were counted by is forgotten when nobody needs it, and not before", async () => {
  await using world = await createWorld();
  const dispatcher = await world.dispatcher();
  await setLimits(world, [dispatcher], [{ name: "work", capability: "work", per: [perUser], kind: tokens(1, day, 1) }]);
  const held = new Held();
  await using _registry = await held.attach(dispatcher, ["work"]);
  for (const [taskId, user] of [
    ["done", "ada"],
    ["running", "bob"],
    ["leased", "cleo"],
    ["parked", "cleo"],
  ] as const) {
    await dispatcher.client.submitTask({ task: { taskId, capability: "work", user, whenLimited } });
  }
  await waitFor(() => held.order.length === 3, { describe: () => `three to run, not ${held.order.join(", ")}` });
  await held.answer(completed(), () => "done#1");
  await whenState(dispatcher.client, "done", TaskState.COMPLETED);
  const buckets = async () => (await query(world, "select from gates where limit_name = 'work'")).length;
  await using pool = new ConnectionPool({ connectionString: world.databaseUrl, schema: "dispatcher" });
  await forgetUnused(pool, 1_000_000);
  assert.equal(await buckets(), 3);
  await query(world, "update lanes set use_time = now() - interval '1 hour'");
  await query(world, "update gates set use_time = now() - interval '1 hour'");
  await forgetUnused(pool, 1_000_000);
  assert.equal(await buckets(), 2);
});
