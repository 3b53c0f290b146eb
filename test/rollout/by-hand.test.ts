import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { waitFor } from "../harness/wait-for.ts";
import { runCli } from "../harness/run-cli.ts";
import { RolloutWorld } from "./world.ts";

let world: RolloutWorld;
const legion = (...args: string[]) => runCli(args, { env: world.mesh.env });

before(async () => {
  world = await RolloutWorld.start({ env: { STAGE_EXECUTIONS: "100000" } });
  await world.agent({ version: "1" });
  await world.agent({ version: "2" });
  const incidents = await legion("incidents");
  assert.deepEqual([incidents.code, incidents.stdout], [0, ""]);
  assert.match(incidents.stderr, /Nothing was found against anybody/);
  world.load(8);
  await waitFor(() => world.done.has("v2"), { describe: "work by version 2" });
});
after(() => world[Symbol.asyncDispose]());

test("versions: who gets how much, how they do, and why", async () => {
  const { code, stdout } = await legion("versions", "roller");
  assert.equal(code, 0);
  assert.match(stdout, /^VERSION +STAGE +WEIGHT +AGENTS +DONE +P50 +P95 +FAILED +VERDICT +CAPABILITY$/m);
  assert.match(stdout, /^1 +current +90 +1 +[\d,]+ +[\d.]+ ms +[\d.]+ ms +0 % +\w+ +work$/m);
  assert.match(stdout, /^2 +canary +10 +1 /m);
  assert.match(stdout, /^2: A new version is tried with a part of the work\.$/m);
  const json = JSON.parse((await legion("versions", "roller", "--json")).stdout) as Record<string, { stage: string }[]>;
  assert.deepEqual(
    json["versions"]?.map(({ stage }) => stage),
    ["CANARY", "CURRENT"],
  );
  assert.equal(json["reports"]?.length, 2);
  const nobody = await legion("versions", "nobody");
  assert.deepEqual([nobody.code, nobody.stdout], [1, ""]);
  assert.match(nobody.stderr, /No agent called 'nobody' was ever seen/);
});

test("versions set: a weight, a bar, a promotion; and what cannot be is refused with a sentence", async () => {
  const set = (...args: string[]) => legion("versions", "set", "roller", ...args);
  assert.match((await set("2", "--weight", "50")).stdout, /^roller 2: fixed, weight 50$/m);
  await world.assertWeights("1: 50 current, 2: 50 fixed");

  const both = await set("2", "--weight", "50", "--promote");
  assert.deepEqual([both.code, both.stderr.includes("one of --weight, --promote and --bar")], [2, true]);
  assert.equal((await set("2", "--weight", "1001")).code, 2);
  const unknown = await set("3", "--promote");
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /No agent of version 3 of roller was ever seen/);

  assert.match((await set("2", "--bar", "--reason", "too slow")).stdout, /^roller 2: barred, weight 0$/m);
  await world.assertWeights("1: 100 current, 2: 0 barred");
  assert.match((await legion("versions", "roller")).stdout, /^2: too slow$/m);
  const barred = await set("2", "--weight", "10");
  assert.equal(barred.code, 1);
  assert.match(barred.stderr, /barred: it gets no work until somebody promotes it/);
  const last = await set("1", "--bar");
  assert.equal(last.code, 1);
  assert.match(last.stderr, /Nothing but version 1 of roller can do its work/);

  const process = world.mesh.process("v2");
  await waitFor(() => !process.isRunning, { describe: "the barred agent to end" });
  await world.agent({ version: "2" });
  // Coming back does not help it.
  await world.assertWeights("1: 100 current, 2: 0 barred");
  assert.match((await set("2", "--promote")).stdout, /^roller 2: current, weight 100$/m);
  await world.assertWeights("1: 0 standby, 2: 100 current");
});

test("versions policy: a new version waits for a person; a verdict is told", async () => {
  assert.equal((await legion("versions", "policy", "roller", "sometimes")).code, 2);
  assert.equal((await legion("versions", "policy", "roller", "canary", "--stages", "50,10")).code, 2);
  assert.match((await legion("versions", "policy", "roller", "manual")).stdout, /^roller: manual/m);
  await world.agent({ version: "3" });
  await world.assertWeights("1: 0 standby, 2: 100 current, 3: 0 fixed");
  await legion("versions", "policy", "roller", "immediate");
  await world.agent({ version: "4" });
  await world.assertWeights("1: 0 standby, 2: 0 standby, 3: 0 fixed, 4: 100 current");

  const verdict = await legion("verdict", "v2");
  assert.match(verdict.stdout, /^(keep|roll back): Version 2 of roller /m);
  assert.match(verdict.stdout, /^executions +\d/m);
  const json = JSON.parse((await legion("verdict", "v2", "--json")).stdout) as Record<string, unknown>;
  assert.equal(typeof json["should_rollback"], "boolean");
  const nobody = await legion("verdict", "nobody");
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /No execution of the agent nobody/);
  await world.finish();
});
