import assert from "node:assert/strict";
import { test } from "node:test";
import { IncidentAction, VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { waitFor } from "../harness/wait-for.ts";
import { RolloutWorld } from "./world.ts";

test("the only version is bad: it is told, and goes on; when a better one comes the work moves there", async () => {
  await using world = await RolloutWorld.start();
  await world.agent({ version: "1", fail: 0.7 });
  world.load(6);
  const recorded = await waitFor(async () => (await world.incidents())[0], {
    timeoutMs: 30_000,
    describe: "an incident",
  });
  assert.equal(recorded.verdict?.kind, VerdictKind.FAILING);
  await waitFor(async () => /nothing was done/.test((await world.incidents())[0]?.summary ?? ""), {
    describe: "that nothing is done",
  });
  await world.assertWeights("1: 100 current");
  await world.agent({ version: "2" });
  // Once version 2 is proven, version 1 is taken out, or has been replaced.
  await waitFor(async () => (await world.versions()).get("2")?.weight === 100, {
    timeoutMs: 40_000,
    describe: () => `version 2 to have all the work; done: ${JSON.stringify([...world.done])}`,
  });
  await world.finish();
});

test("the only version has a bad hour: that is over, and not held against it when another one comes", async () => {
  await using world = await RolloutWorld.start({ env: { REVIEW_INTERVAL: "500ms" } });
  await world.agent({ version: "1", fail: 0.9, failFirst: 2_000 });
  world.load(6);
  const over = await world.whenOver(60_000);
  assert.equal(over.action, IncidentAction.RECORDED);
  assert.match(over.summary, /failed .* it has done well since, in \d+ executions\.$/);
  await world.agent({ version: "2" });
  await world.whenWeights("1: 0 standby, 2: 100 current");
  await world.finish();
  assert.equal((await world.incidents()).length, 1);
});

test("all versions are bad: the new one is no worse and comes, or is taken out, but somebody always works", async () => {
  await using world = await RolloutWorld.start();
  await world.agent({ version: "1", fail: 0.6 });
  world.load(6);
  await waitFor(async () => (await world.incidents()).length === 1, { timeoutMs: 30_000, describe: "an incident" });
  await world.agent({ version: "2", fail: 0.95 });
  // Sixty executions may or may not be enough to tell that 2 is the worse one before it is proven; then 1 gives way, once.
  const ends = ["1: 100 current, 2: 0 barred", "1: 0 barred, 2: 100 current"];
  await waitFor(async () => ends.includes(await world.weights()), {
    timeoutMs: 60_000,
    describe: "one of the two to be taken out",
  });
  const allDone = () => [...world.done.values()].reduce((sum, count) => sum + count, 0);
  const done = allDone();
  await waitFor(() => allDone() > done, {
    timeoutMs: 20_000,
    describe: "work to go on",
  });
  assert.ok(ends.includes(await world.weights()));
  await world.finish();
});

test("sessions flap while a good version comes: it gets there, nothing is taken out, all tasks complete", async () => {
  await using world = await RolloutWorld.start({ env: { SESSION_LEASE: "1s", HEARTBEAT_INTERVAL: "200ms" } });
  await world.agent({ version: "1" });
  world.load(8);
  await world.agent({ version: "2" });
  for (let round = 0; round < 3; round++) {
    for (const agentId of ["v2", "v1"]) {
      const before = world.done.get(agentId) ?? 0;
      await world.mesh.kill(agentId);
      world.mesh.process(agentId).spawn();
      await waitFor(() => (world.done.get("v1") ?? 0) + (world.done.get("v2") ?? 0) > before + 100, {
        timeoutMs: 20_000,
        describe: "work to go on",
      });
    }
  }
  await world.whenWeights("1: 0 standby, 2: 100 current");
  await world.finish();
  assert.deepEqual(await world.incidents(), []);
});

test("one agent of three is bad: it rests alone, its version stays, and it comes back", async () => {
  await using world = await RolloutWorld.start();
  for (const agentId of ["a", "b"]) await world.agent({ version: "1", agentId });
  await world.agent({ version: "1", agentId: "bad", fail: 0.9 });
  world.load(12);
  const incident = await waitFor(async () => (await world.incidents())[0], {
    timeoutMs: 30_000,
    describe: "an incident",
  });
  assert.deepEqual([incident.verdict?.agentId, incident.verdict?.kind], ["bad", VerdictKind.FAILING]);
  const resting = async () => (await world.registry.getAgent({ agentId: "bad" })).agent?.restUntilTime !== undefined;
  await waitFor(resting, { describe: "the rest" });
  const { shouldRollback, reason } = await world.watchdog.shouldRollback({ agentId: "bad" });
  assert.equal(shouldRollback, false, reason);
  await world.assertWeights("1: 100 current");
  const over = await world.whenOver();
  assert.equal(over.action, IncidentAction.EJECTED);
  // It is given work again, and is no better: the second rest is twice as long.
  await waitFor(async () => /rests for 4 s/.test((await world.incidents())[0]?.summary ?? ""), {
    timeoutMs: 60_000,
    describe: "its next incident",
  });
  await world.finish();
});
