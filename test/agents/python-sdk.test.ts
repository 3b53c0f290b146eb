import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { run } from "../harness/run-program.ts";
import { startMesh } from "../harness/mesh.ts";
import { waitFor } from "../harness/wait-for.ts";
import { cleanly, packageFolder, pythonWithSdk, pythonWithTools, whyNoPython } from "./python/environments.ts";

const skip = whyNoPython();
if (skip !== undefined) console.error(`SKIPPED: the Python SDK is not tested, for ${skip}`);
const options = { ...(skip !== undefined && { skip }), timeout: 280_000 };

const checks: Readonly<Record<string, readonly string[]>> = {
  "its own tests": ["-m", "pytest", "--quiet"],
  "its types": ["-m", "mypy", "--cache-dir=/dev/null", "src", "scripts", "tests"],
  "its style": ["-m", "ruff", "check", "--no-cache", ".", "../../test/agents/python"],
  "its format": ["-m", "ruff", "format", "--check", "--no-cache", ".", "../../test/agents/python"],
};

test("the Python SDK's checks", options, async (t) => {
  const python = await pythonWithTools();
  const env = { ...cleanly, PYTHONPATH: join(packageFolder, "src") };
  for (const [name, args] of Object.entries(checks)) {
    await t.test(name, async () => {
      await run(python, args, { cwd: packageFolder, env });
    });
  }
});

test("an installed package knows its version and its types", options, async () => {
  const python = await pythonWithSdk();
  const program = `
import importlib.metadata, importlib.resources, legion
assert importlib.resources.files("legion").joinpath("py.typed").is_file()
assert all(hasattr(legion, name) for name in legion.__all__)
print(importlib.metadata.version("legion-mesh"), sorted(importlib.metadata.requires("legion-mesh")))`;
  // Away from the checkout, whose sources would do as well.
  const { stdout } = await promisify(execFile)(python, ["-c", program], { cwd: tmpdir(), env: cleanly });
  // What its users get without asking, and what only `[otel]` brings.
  assert.match(stdout, /^0\.1\.0 \['grpcio[^']+'(, "opentelemetry-[^"]+; extra == 'otel'"){3}, 'protobuf[^']+'\]$/m);
});

test("the README's agent and client, as they stand there", options, async () => {
  const [python, readme, mesh] = await Promise.all([
    pythonWithSdk(),
    readFile(join(packageFolder, "README.md"), "utf8"),
    startMesh(),
  ]);
  await using stack = new AsyncDisposableStack();
  stack.use(mesh);
  const folder = await mkdtemp(join(tmpdir(), "legion-python-"));
  stack.defer(() => rm(folder, { recursive: true }));
  for (const [, name = "", text = ""] of readme.matchAll(/^`(\w+\.py)`:\n\n```python\n(.*?)^```$/gms)) {
    await writeFile(join(folder, name), text);
  }
  const expected = /^```text\n(.*?)^```$/ms.exec(readme)?.[1];
  const env = { ...mesh.env, ...cleanly };
  const agent = spawn(python, ["greeter.py"], { cwd: folder, env, stdio: "inherit" });
  const exited = once(agent, "exit");
  stack.defer(() => void agent.kill("SIGKILL"));
  await waitFor(async () => (await mesh.activeAgents()) === 1, { describe: "the agent's session" });
  const { stdout } = await promisify(execFile)(python, ["ask.py"], { cwd: folder, env });
  assert.equal(stdout, expected);
  agent.kill("SIGTERM");
  assert.deepEqual(await exited, [0, null]);
});
