import assert from "node:assert/strict";
import { test } from "node:test";
import { waitFor } from "../harness/wait-for.ts";
import { RolloutWorld } from "./world.ts";

test("version 2 does as well: it gets 10 %, 50 %, then everything; all tasks complete", async () => {
  await using world = await RolloutWorld.start();
  await world.agent({ version: "1" });
  world.load(12);
  await world.agent({ version: "2" });
  await world.assertWeights("1: 90 current, 2: 10 canary");
  await world.whenWeights("1: 50 current, 2: 50 canary");
  // While the weights were 90 and 10, so were the shares, however busy both agents were.
  const { reports } = await world.watchdog.describeVersions({ name: "roller" });
  const [one, two] = reports.map(({ executions }) => Number(executions));
  assert.ok(two! >= 60 && two! < 0.3 * one!, `${two} beside ${one}`);
  await world.whenWeights("1: 0 standby, 2: 100 current");
  await waitFor(() => (world.done.get("v2") ?? 0) > 400, { describe: "work by version 2" });
  await world.finish();
  assert.deepEqual(await world.incidents(), []);

  // The new one goes: the old one is there, and takes over while that is so, without a decision about either.
  await world.mesh.process("v2").stop();
  await world.whenWeights("1: 100 standby, 2: 100 current");
  await world.agent({ version: "2" });
  await world.whenWeights("1: 0 standby, 2: 100 current");
});

test("version 2 is faster: promoted as well", async () => {
  await using world = await RolloutWorld.start();
  await world.agent({ version: "1", ms: 20 });
  world.load(12);
  await world.agent({ version: "2", ms: 8 });
  await world.whenWeights("1: 0 standby, 2: 100 current");
  await world.finish();
  assert.deepEqual(await world.incidents(), []);
});

test("tasks of a millisecond, as many as the machine can do: what shakes them is not the version", async () => {
  await using world = await RolloutWorld.start();
  await world.agent({ version: "1", ms: 1 });
  world.load(16);
  await world.agent({ version: "2", ms: 1 });
  await world.whenWeights("1: 0 standby, 2: 100 current");
  await world.finish();
  assert.deepEqual(await world.incidents(), []);
});
