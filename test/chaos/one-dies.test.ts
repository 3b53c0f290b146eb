import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { EmbeddedPostgres } from "#libs/db/embedded-postgres.ts";
import { ownPostgres } from "../harness/postgres.ts";
import { Load } from "./load.ts";
import { World } from "./world.ts";

const stack = new AsyncDisposableStack();
let postgres: EmbeddedPostgres;
let world: World;

before(async () => {
  postgres = stack.use(await ownPostgres());
  // Longer than a start takes on a slow machine: what is tried here is coming back, not being late.
  const env = { SESSION_LEASE: "30s", SESSION_GRACE: "30s", INSTANCE_LEASE: "30s" };
  world = stack.use(await World.start({ postgres, env }));
});

after(() => stack.disposeAsync());

for (const name of ["dispatcher", "registry", "ratelimit", "watchdog"]) {
  test(`kill -9 of the ${name} in mid-work: callers notice nothing, and nothing runs twice`, async () => {
    const load = await Load.start(world, name, 800);
    await load.whenAnswered(150);
    await world.mesh.kill(name);
    // While it is away.
    load.add(200);
    await world.mesh.restart(name);
    await world.whenHealthy();
    await load.assertAllCompletedOnce();
    // The agents' sessions are resumed and say what they hold.
    assert.deepEqual(load.repeated(), []);
  });
}

test("kill -9 of an agent in mid-work: only what it held runs again", async () => {
  const load = await Load.start(world, "agent", 1_000);
  await load.whenAnswered(150);
  await world.killAndRestart("chaos-1");
  await load.assertAllCompletedOnce();
  await world.whenHealthy();
  // At least once: the agent died between the work and its recorded outcome. It has 64 slots, so as many repeat at most.
  const repeated = load.repeated();
  assert.ok(repeated.length > 0 && repeated.length <= 64, repeated.join("\n"));
  const first = new Set(repeated.map((line) => line.split(" ")[1]));
  assert.deepEqual([...first], ["chaos-1#1"], "what the other agent held was left alone");
});

test("kill -9 of Postgres in mid-work: callers notice nothing, and nothing runs twice", async () => {
  const load = await Load.start(world, "postgres", 800);
  await load.whenAnswered(150);
  await postgres.kill();
  load.add(200);
  await postgres.restart();
  await load.assertAllCompletedOnce();
  await world.whenHealthy();
  // A lease is committed before its assignment leaves, and an outcome is kept by its agent until it is committed.
  assert.deepEqual(load.repeated(), []);
});
