import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { legionError } from "#libs/rpc/errors.ts";
import { TestRegistry, type TestRegistryOptions } from "./harness/test-registry.ts";

async function startChild(options: TestRegistryOptions = {}) {
  const registry = await TestRegistry.start(options);
  const child = spawn(process.execPath, [join(import.meta.dirname, "fixtures/misbehaving-agent.ts")], {
    env: { ...process.env, LEGION_REGISTRY: registry.address },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const output = text(child.stdout);
  const exited = once(child, "exit");
  return {
    registry,
    exited,
    records: async () =>
      (await output)
        .trim()
        .split("\n")
        .map((line): Record<string, unknown> => JSON.parse(line)),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
      await registry[Symbol.asyncDispose]();
    },
  };
}

test("an event loop that was blocked for longer than the lease is told from a dead Registry", async () => {
  await using given = await startChild({ onHello: (stream) => stream.welcome({ leaseMs: 600 }) });
  const first = await given.registry.stream(0);
  // One that is short enough does no harm and is not mentioned.
  first.assign({ taskId: "short", capability: "burn", data: { ms: 100 } });
  await first.outcome("short");
  first.assign({ taskId: "long", capability: "burn", data: { ms: 1_200 } });
  await first.until(({ last, seq }) => last.ack === seq, "the ack");
  // As the Registry does when nothing was heard for the length of the lease; read only when the block is over.
  first.fail(legionError("SESSION_EXPIRED", "Nothing was heard for 0.6 s."));
  const second = await given.registry.stream(1);
  second.drain("enough", false);
  await given.exited;
  const records = await given.records();
  const blocked = records.filter(({ msg }) => String(msg).includes("the event loop was blocked"));
  assert.equal(blocked.length, 1, JSON.stringify(records));
  assert.match(
    String(blocked[0]?.["msg"]),
    /was blocked for (0\.[89]|1(\.\d)?) s, longer than the session's lease of 0\.6 s; move CPU work to a worker thread/,
  );
  assert.equal(blocked[0]?.["capability"], "burn");
});

test("a task that kills the process counts as received", async () => {
  await using given = await startChild();
  const stream = await given.registry.stream(0);
  stream.assign({ taskId: "poison", capability: "die" });
  await given.exited;
  await stream.until(({ closed }) => closed !== undefined, "the end of the stream");
  assert.equal(stream.last.ack, stream.seq);
  assert.deepEqual(stream.outcomes, []);
});
