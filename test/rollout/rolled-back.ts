import assert from "node:assert/strict";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { IncidentAction, type VerdictKind } from "#libs/proto/legion/watchdog/v1/verdict_pb.ts";
import { type AgentKind, RolloutWorld } from "./world.ts";

/** Version 2 comes beside version 1; what becomes of it when it is worse. */
export async function rolledBack(worse: Omit<AgentKind, "version">, kind: VerdictKind): Promise<void> {
  await using world = await RolloutWorld.start();
  await world.agent({ version: "1" });
  await world.whenWeights("1: 100 current");
  world.load(12);
  const bad = await world.agent({ version: "2", ...worse });
  const incident = await world.whenOver(60_000);
  assert.equal(incident.action, IncidentAction.ROLLED_BACK, incident.summary);
  assert.deepEqual([incident.verdict?.kind, incident.verdict?.version], [kind, "2"]);
  const tookMs = timestampMs(incident.endTime!) - timestampMs(incident.startTime!);
  assert.ok(tookMs < 5_000, `${tookMs} ms from trigger to drained`);
  await world.assertWeights("1: 100 current, 2: 0 barred");
  assert.ok(!bad.isRunning || (await bad.stop()), "its agent was told to end");
  await world.finish();
  const { shouldRollback, verdict } = await world.watchdog.shouldRollback({ agentId: "v2" });
  assert.deepEqual([shouldRollback, verdict?.kind], [true, kind]);
  assert.equal((await world.incidents()).length, 1);
}
