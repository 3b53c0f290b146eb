import assert from "node:assert/strict";
import { test } from "node:test";
import { IncidentAction } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { waitFor } from "../harness/wait-for.ts";
import { RolloutWorld } from "./world.ts";

for (const victim of ["watchdog", "registry"] as const) {
  test(`kill -9 of the ${victim} again and again while a bad version is judged and rolled back changes nothing`, async () => {
    await using world = await RolloutWorld.start({ env: { SESSION_LEASE: "3s", HEARTBEAT_INTERVAL: "500ms" } });
    await world.agent({ version: "1" });
    world.load(8);
    await world.agent({ version: "2", fail: 0.3 });
    const crash = async () => {
      await world.mesh.kill(victim);
      await world.mesh.restart(victim);
    };
    await waitFor(() => world.done.has("v2"), { describe: "work by version 2" });
    await crash();
    await waitFor(async () => (await world.incidents()).length > 0, { timeoutMs: 40_000, describe: "an incident" });
    await crash();
    const incident = await world.whenOver(40_000);
    await crash();
    assert.equal(incident.action, IncidentAction.ROLLED_BACK, incident.summary);
    await world.whenWeights("1: 100 current, 2: 0 barred");
    await world.finish();
    assert.equal((await world.incidents()).length, 1);
  });
}
