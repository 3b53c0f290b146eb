import assert from "node:assert/strict";
import { test } from "node:test";
import { LegionCore } from "#libs/client/index.ts";
import type { AgentLike } from "#libs/client/index.ts";
import { LegionAgent } from "#libs/agent/index.ts";
import type { TaskData } from "#libs/agent/index.ts";
import { memoryLog } from "../agent/harness/logs.ts";
import { TestRegistry } from "../agent/harness/test-registry.ts";

class Greeter extends LegionAgent {
  readonly #greeting = "Hello";
  override execute({ name }: TaskData): unknown {
    return { greeting: `${this.#greeting}, ${String(name)}!` };
  }
}

const greeting = ({ name }: TaskData): unknown => ({ greeting: `Hello, ${String(name)}!` });

const agents: [string, AgentLike][] = [
  ["a function", greeting],
  ["an object with execute", { execute: greeting }],
  ["an object with executeAsync", { executeAsync: (data) => Promise.resolve(greeting(data)) }],
  ["a LegionAgent", new Greeter({ version: "7", log: memoryLog().log })],
];

for (const [what, agent] of agents) {
  test(`${what} is registered under the id and with the capabilities given`, async () => {
    await using registry = await TestRegistry.start();
    await using core = new LegionCore({ dispatcher: "127.0.0.1:1", registry: registry.address, namespace: "acme" });
    const registered = await core.registerAgent("greeter-1", agent, ["greet"], { log: memoryLog().log });
    const stream = await registry.stream(0);
    const { hello } = stream;
    assert.deepEqual(
      [hello.agentId, hello.namespace, hello.capabilities.map(({ name }) => name)],
      ["greeter-1", "acme", ["greet"]],
    );
    assert.equal(registered.getStatus().state, "active");
    stream.assign({ taskId: "t", capability: "greet", data: { name: "Ada" } });
    const { outcome } = await stream.outcome("t");
    assert.equal(outcome?.kind.case, "completed");
    assert.equal(Buffer.from(outcome.kind.value.result?.data ?? []).toString(), '{"greeting":"Hello, Ada!"}');
    await core.close();
    assert.equal(registered.getStatus().state, "stopped");
  });
}

test("what is no agent is refused", async () => {
  await using core = new LegionCore({ dispatcher: "127.0.0.1:1" });
  await assert.rejects(core.registerAgent("x", {} as AgentLike, ["greet"]), /is a function, or has an execute/);
});
