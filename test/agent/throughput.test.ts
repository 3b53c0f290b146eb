import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { defineAgent } from "#libs/agent/index.ts";
import { memoryLog } from "./harness/logs.ts";
import { TestRegistry } from "./harness/test-registry.ts";

test("2,000 tasks through 500 slots: each answered once, in few frames", async () => {
  const total = 2_000;
  const slots = 500;
  let running = 0;
  let most = 0;
  await using registry = await TestRegistry.start();
  await using agent = defineAgent({
    name: "busy",
    slots,
    registry: registry.address,
    log: memoryLog().log,
    capabilities: {
      async square({ n }) {
        most = Math.max(most, ++running);
        await pause(Number(n) % 5);
        running--;
        return Number(n) ** 2;
      },
    },
  });
  await agent.start();
  const stream = await registry.stream(0);
  assert.equal(stream.hello.slots, slots);
  let assigned = 0;
  const refill = (): boolean => {
    const free = Math.min(slots - (assigned - stream.outcomes.length), total - assigned);
    const tasks = Array.from({ length: free }, () => {
      const n = assigned++;
      return { taskId: `t${n}`, capability: "square", data: { n } };
    });
    if (tasks.length > 0) stream.assign(...tasks);
    return stream.outcomes.length >= total;
  };
  await stream.until(refill, "all outcomes");
  const squares = new Map(
    stream.outcomes.map(({ taskId, outcome }) => {
      assert.equal(outcome?.kind.case, "completed");
      return [taskId, Number(Buffer.from(outcome.kind.value.result?.data ?? []).toString())];
    }),
  );
  assert.equal(stream.outcomes.length, total);
  assert.equal(squares.size, total);
  for (let n = 0; n < total; n++) assert.equal(squares.get(`t${n}`), n ** 2);
  assert.ok(most > 100 && most <= slots, `${most} ran at once`);
  const frames = stream.frames.filter(({ outcomes }) => outcomes.length > 0).length;
  assert.ok(frames < total / 4, `${frames} frames`);
  assert.equal(agent.getStatus().completed, total);
});

test("large results are spread over frames, and a slow reader loses none", async () => {
  await using registry = await TestRegistry.start();
  const text = "x".repeat(300_000);
  await using agent = defineAgent({
    name: "large",
    registry: registry.address,
    log: memoryLog().log,
    capabilities: { give: () => text },
  });
  await agent.start();
  const stream = await registry.stream(0);
  stream.assign(...Array.from({ length: 40 }, (_, n) => ({ taskId: `t${n}`, capability: "give" })));
  await stream.until(({ outcomes }) => outcomes.length === 40, "all outcomes");
  const most = Math.max(...stream.frames.map(({ outcomes }) => outcomes.length));
  assert.ok(most > 1 && most <= 4, `${most} in a frame`);
});
