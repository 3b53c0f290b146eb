import assert from "node:assert/strict";
import { test } from "node:test";
import { legionError } from "#libs/rpc/errors.ts";
import { TestRegistry } from "../agent/harness/test-registry.ts";
import { whyNoPython } from "./python/environments.ts";
import { startPythonAgent } from "./python/run.ts";

const skip = whyNoPython();
if (skip !== undefined) console.error(`SKIPPED: the Python agent is not tested, for ${skip}`);

test("the Python agent works, fails, beats, reconnects, and gives way", { skip, timeout: 240_000 }, async () => {
  await using registry = await TestRegistry.start({ onHello: (stream) => stream.welcome({ heartbeatMs: 50 }) });
  await using agent = await startPythonAgent({ registry: registry.address, agentId: "py-1" });
  const first = await registry.stream(0);
  const { hello } = first;
  assert.deepEqual([hello.agentId, hello.name, hello.resumable], ["py-1", "python-example", false]);
  assert.match(hello.sdk, /^python\/3/);
  assert.deepEqual(
    hello.capabilities.map(({ name }) => name),
    ["py.upper", "py.reverse"],
  );

  first.assign(
    { taskId: "a", capability: "py.upper", data: { text: "straße" } },
    { taskId: "b", capability: "py.reverse", data: { text: "abc" } },
    { taskId: "c", capability: "py.upper", data: { wrong: 1 } },
  );
  const result = async (taskId: string): Promise<unknown> => {
    const { outcome } = await first.outcome(taskId);
    assert.equal(outcome?.kind.case, "completed");
    return JSON.parse(Buffer.from(outcome.kind.value.result?.data ?? []).toString());
  };
  assert.deepEqual(await result("a"), { text: "STRASSE" });
  assert.deepEqual(await result("b"), { text: "cba" });
  const { outcome } = await first.outcome("c");
  assert.equal(outcome?.kind.case, "failed");
  assert.deepEqual([outcome.kind.value.code, outcome.kind.value.retryable], ["KeyError", false]);
  await first.until(({ frames }) => frames.filter(({ heartbeat }) => heartbeat).length >= 2, "heartbeats");
  await first.until(({ last, seq }) => last.ack === seq, "an ack of everything");

  first.break();
  const second = await registry.stream(1);
  second.assign({ taskId: "d", capability: "py.upper", data: { text: "x" } });
  await second.outcome("d");
  second.fail(legionError("SESSION_FENCED", "A newer session began."));
  assert.equal(await agent.exited, 1, agent.lines.join("\n"));
  assert.equal(registry.streams.length, 2);
});
