import assert from "node:assert/strict";
import { test } from "node:test";
import { defineAgent } from "#libs/agent/index.ts";
import { memoryLog } from "./harness/logs.ts";
import { TestRegistry } from "./harness/test-registry.ts";

test("hooks that throw are logged and harm neither the session nor the drain", async () => {
  await using registry = await TestRegistry.start();
  const { log, records } = memoryLog();
  const broken = (name: string) => (): never => {
    throw new RangeError(`${name} is broken`);
  };
  const agent = defineAgent({
    name: "hooked",
    registry: registry.address,
    log,
    onConnected: broken("onConnected"),
    onDraining: broken("onDraining"),
    capabilities: { double: ({ n }) => Number(n) * 2 },
  });
  await agent.start();
  const stream = await registry.stream(0);
  stream.assign({ taskId: "one", capability: "double", data: { n: 21 } });
  await stream.outcome("one");
  await agent.stop();
  assert.equal(registry.streams.length, 1, "no second stream");
  const errors = records.map((record) => (record["err"] as { message?: string } | undefined)?.message);
  assert.deepEqual(errors.filter(Boolean), ["onConnected is broken", "onDraining is broken"]);
});
