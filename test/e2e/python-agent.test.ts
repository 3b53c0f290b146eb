import assert from "node:assert/strict";
import { test } from "node:test";
import { LegionCore, type TaskFailedError } from "#libs/client/index.ts";
import { whyNoPython } from "../agents/python/environments.ts";
import { startPythonAgent } from "../agents/python/run.ts";
import { startMesh } from "../harness/mesh.ts";

const skip = whyNoPython();
if (skip !== undefined) console.error(`SKIPPED: the Python agent is not tested, for ${skip}`);

test(
  "an agent in Python does the mesh's tasks, and fails them in its own words",
  { skip, timeout: 240_000 },
  async () => {
    await using mesh = await startMesh();
    await using agent = await startPythonAgent({ registry: mesh.registry.address, agentId: "py-1" });
    await using core = new LegionCore({ dispatcher: mesh.dispatcher.address });
    const texts = Array.from({ length: 200 }, (_, n) => `straße ${n} 🦉`);
    const results = await Promise.all(
      texts.map((text) => core.dispatchTask(undefined, { text }, "py.upper", { timeoutMs: 60_000 })),
    );
    assert.deepEqual(
      results,
      texts.map((text) => ({ text: text.toUpperCase() })),
      agent.lines.join("\n"),
    );
    await assert.rejects(
      core.dispatchTask("wrong", { wrong: true }, "py.reverse", { timeoutMs: 60_000 }),
      (error: TaskFailedError) => {
        assert.deepEqual(
          [error.state, error.attempt, error.code, error.message, error.retryable],
          ["FAILED", 1, "KeyError", "'text'", false],
        );
        return true;
      },
    );
    assert.deepEqual(await core.dispatchTask("after", { text: "abc" }, "py.reverse"), { text: "cba" });
  },
);
