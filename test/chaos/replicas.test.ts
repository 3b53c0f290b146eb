import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Load } from "./load.ts";
import { World } from "./world.ts";

const stack = new AsyncDisposableStack();
let world: World;

before(async () => {
  // What a dead Dispatcher had goes to the other after INSTANCE_LEASE.
  const env = { INSTANCE_LEASE: "2s", SESSION_LEASE: "30s", SESSION_GRACE: "30s" };
  world = stack.use(await World.start({ replicas: { dispatcher: 2, registry: 2 }, env }));
});

after(() => stack.disposeAsync());

// Twice, so that each client and each session loses its own at least once.
for (const replica of ["", "-2"]) {
  const [dispatcher, registry] = [`dispatcher${replica}`, `registry${replica}`];
  test(`${dispatcher} and ${registry} die in mid-work and stay away: the others take over, and nothing is lost`, async (t) => {
    t.after(() => Promise.all([world.mesh.restart(dispatcher), world.mesh.restart(registry)]));
    await world.whenHealthy();
    const load = await Load.start(world, `replicas${replica}`, 800);
    await load.whenAnswered(150);
    await Promise.all([world.mesh.kill(dispatcher), world.mesh.kill(registry)]);
    load.add(200);
    await load.assertAllCompletedOnce();
    // Sessions go on at the other Registry and the other Dispatcher with what they hold.
    assert.deepEqual(load.repeated(), []);
  });
}
