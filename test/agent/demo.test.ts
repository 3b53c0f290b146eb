import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { demoAgents } from "#libs/agent/demo/agents.ts";
import { countWords } from "#libs/agent/demo/count-words.ts";
import { CancelCause } from "#libs/proto/legion/registry/v1/session_pb.ts";
import { memoryLog } from "./harness/logs.ts";
import { type AgentStream, TestRegistry } from "./harness/test-registry.ts";

async function startDemo() {
  const stack = new AsyncDisposableStack();
  const registry = stack.use(await TestRegistry.start());
  const agents = demoAgents({ registry: registry.address, log: memoryLog().log });
  for (const agent of agents) stack.use(agent);
  await Promise.all(agents.map((agent) => agent.start()));
  const run = async (capability: string, taskId: string, data: unknown, attempt = 1): Promise<AgentStream> => {
    const stream = registry.streams.find(({ hello }) => hello.capabilities.some(({ name }) => name === capability))!;
    stream.assign({ taskId, attempt, capability, data });
    return stream;
  };
  const outcomeOf = async (...given: Parameters<typeof run>) => {
    const { outcome } = await (await run(...given)).outcome(given[1]);
    if (outcome?.kind.case !== "completed") return outcome?.kind.value;
    return JSON.parse(Buffer.from(outcome.kind.value.result?.data ?? []).toString()) as unknown;
  };
  return { registry, run, outcomeOf, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

test("the demo agents do what they are for", async () => {
  await using demo = await startDemo();
  assert.deepEqual(demo.registry.streams.map(({ hello }) => hello.agentId).toSorted(), [
    "demo-counter",
    "demo-failer",
    "demo-greeter",
    "demo-sleeper",
  ]);
  for (const { hello } of demo.registry.streams) {
    for (const { inputSchema } of hello.capabilities) assert.equal(JSON.parse(inputSchema).type, "object");
  }
  assert.deepEqual(await demo.outcomeOf("greet", "g", { name: "Ada" }), { greeting: "Hello, Ada!" });
  assert.deepEqual(await demo.outcomeOf("sleep", "s", { ms: 1 }), { slept_ms: 1 });
  assert.deepEqual(await demo.outcomeOf("wordcount", "w", { text: "a b\na" }), {
    lines: 1,
    words: 3,
    bytes: 5,
    top: [
      { word: "a", count: 2 },
      { word: "b", count: 1 },
    ],
  });
});

test("the sleeper tells its progress and wakes when it is canceled", async () => {
  await using demo = await startDemo();
  const stream = await demo.run("sleep", "s", { ms: 86_400_000 });
  await demo.run("sleep", "short", { ms: 200 });
  await stream.until(
    ({ frames }) => frames.some(({ progress }) => progress.some(({ fraction }) => fraction === 0.5)),
    "progress",
  );
  stream.cancel("s", CancelCause.REQUESTED);
  assert.equal((await stream.outcome("s")).outcome?.kind.case, "canceled");
});

test("the failer fails as often as it is told", async () => {
  await using demo = await startDemo();
  const failed = await demo.outcomeOf("fail", "always", { retryable: false, message: "as ordered" });
  assert.partialDeepStrictEqual(failed, { code: "DEMO_FAILURE", message: "as ordered", retryable: false });
  assert.partialDeepStrictEqual(await demo.outcomeOf("fail", "twice", { times: 2 }, 2), {
    code: "DEMO_FAILURE",
    retryable: true,
  });
  assert.deepEqual(await demo.outcomeOf("fail", "third", { times: 2 }, 3), { attempt: 3 });
});

test("words are counted as wc does", () => {
  assert.deepEqual(countWords(""), { lines: 0, words: 0, bytes: 0, top: [] });
  const { lines, words, bytes, top } = countWords("ein zwei  drei\nein\tvier fünf sechs ein zwei\n\n");
  assert.deepEqual({ lines, words, bytes }, { lines: 3, words: 9, bytes: 46 });
  assert.deepEqual(
    top.map(({ word, count }) => `${word} ${count}`),
    ["ein 3", "zwei 2", "drei 1", "vier 1", "fünf 1"],
  );
});

test("the demo's process ends with its supervisor, in order", async () => {
  await using registry = await TestRegistry.start();
  const child = spawn(process.execPath, [join(import.meta.dirname, "../../libs/agent/demo/main.ts")], {
    env: { ...process.env, LEGION_REGISTRY: registry.address, LEGION_SUPERVISED: "1" },
    stdio: ["pipe", "ignore", "inherit"],
  });
  try {
    await registry.stream(3);
    child.stdin.end();
    assert.deepEqual(await once(child, "exit"), [0, null]);
    for (const { closed } of registry.streams) assert.equal(closed, null);
  } finally {
    child.kill();
  }
});
