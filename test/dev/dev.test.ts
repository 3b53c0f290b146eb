import assert from "node:assert/strict";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { freePortBase } from "../harness/free-ports.ts";
import { runCli } from "../harness/run-cli.ts";
import { waitFor } from "../harness/wait-for.ts";
import { living, LocalLegion, newDataDir } from "./local-legion.ts";

test("one line starts a mesh and shows a task; another can run beside it; what dies comes back; Ctrl-C ends all", async (t) => {
  const [portBase, dataDir] = [await freePortBase(), await newDataDir(t)];
  const legion = new LocalLegion(t, { portBase, dataDir });
  await legion.line(/^legion is ready/);
  const shown = legion.stdout.join("\n");
  assert.match(shown, /greet \{"name":"Ada"\} → \{"greeting":"Hello, Ada!"\}\n.* [\d.]+ ms, trace [\da-f]{32}\n/);
  assert.match(shown, new RegExp(`Watchdog +gRPC 127.0.0.1:${portBase + 4} +HTTP http://127.0.0.1:${portBase + 14}`));
  assert.deepEqual(legion.stderr, []);
  assert.equal(
    legion.stdout.findIndex((line) => line.startsWith("legion is ready")),
    legion.stdout.length - 1,
  );
  assert.doesNotMatch(shown, /WARN|ERROR/, "a start in order is quiet");
  assert.equal(shown, stripVTControlCharacters(shown), "no colours where nobody sees them");

  await t.test("a taken port and a directory in use are named in one sentence, with the flag that helps", async () => {
    for (const [flags, sentence] of [
      [
        { portBase, dataDir: await newDataDir(t) },
        new RegExp(`^legion: Port ${portBase + 1}, .*Registry.* --port-base N.*\\.$`),
      ],
      [
        { portBase: await freePortBase(), dataDir },
        new RegExp(`^legion: The data directory ${dataDir} is in use .* --data-dir DIR.*\\.$`),
      ],
    ] as const) {
      const refused = new LocalLegion(t, flags);
      assert.equal((await refused.child.exited).code, 1);
      assert.equal(refused.stderr.length, 1);
      assert.match(refused.stderr[0]!, sentence);
      assert.deepEqual(refused.stdout, []);
    }
  });

  await t.test("a second mesh runs beside it", async () => {
    const second = new LocalLegion(t, {
      portBase: await freePortBase(),
      dataDir: await newDataDir(t),
      more: ["--no-demo"],
    });
    await second.line(/^legion is ready/);
    assert.doesNotMatch(second.all, /greet/);
    second.child.signal("SIGTERM");
    assert.equal((await second.child.exited).code, 0);
  });

  for (const name of ["dispatcher", "postgres", "agents"]) {
    process.kill(legion.pids[name]!, "SIGKILL");
    await legion.line(new RegExp(`${name} +WARN ended \\(SIGKILL.*starts again in`));
    await legion.line(new RegExp(`${name} +is ready again`));
  }
  const done = await runCli(["run", "greet", '{"name":"Bob"}', "--port-base", String(portBase)]);
  assert.equal(done.code, 0, done.stderr);
  assert.deepEqual(JSON.parse(done.stdout), { greeting: "Hello, Bob!" });

  const { pids } = legion;
  assert.equal(living(pids).length, 6, JSON.stringify(pids));
  const startedMs = performance.now();
  legion.child.signal("SIGINT");
  // Under npm, one Ctrl-C comes twice.
  legion.child.signal("SIGINT");
  assert.deepEqual(await legion.child.exited, { code: 0, signal: null });
  assert.ok(performance.now() - startedMs < 5_000);
  assert.deepEqual(living(pids), []);
  assert.deepEqual(legion.stderr, []);
});

test("after kill -9 of the supervisor the next start finds the way free and the stored task runs; --json is JSON", async (t) => {
  const flags = { portBase: await freePortBase(), dataDir: await newDataDir(t) };
  const cli = (...args: string[]) => runCli([...args, "--port-base", String(flags.portBase)]);
  const first = new LocalLegion(t, { ...flags, more: ["--json", "--no-demo"] });
  await first.line(/"event":"ready"/);
  const submitted = await cli("submit", "greet", '{"name":"Eve"}');
  const taskId = submitted.stdout.trim();
  assert.match(taskId, /^\S+$/, submitted.stderr);
  first.child.signal("SIGKILL");
  await first.child.exited;

  const second = new LocalLegion(t, { ...flags, more: ["--json"] });
  const ready = JSON.parse(await second.line(/"event":"ready"/)) as { addresses: Record<string, { grpc: string }> };
  assert.equal(ready.addresses["dispatcher"]?.grpc, `127.0.0.1:${flags.portBase + 2}`);
  const task = await waitFor(
    async () => {
      const { stdout } = await cli("get", taskId, "--json");
      return stdout.includes('"COMPLETED"') && stdout;
    },
    { describe: "the stored task's completion", timeoutMs: 30_000 },
  );
  assert.match(task, /Hello, Eve!/);
  const objects = [...first.stdout, ...second.stdout].map((line) => JSON.parse(line) as Record<string, unknown>);
  const demo = objects.find(({ event }) => event === "demo_task");
  assert.deepEqual(demo?.["result"], { greeting: "Hello, Ada!" });
  assert.ok(
    objects.some(({ service, level }) => service === "dispatcher" && level === "info"),
    "nothing is hidden",
  );

  await t.test("a second Ctrl-C does not wait for what still runs", async () => {
    await cli("submit", "sleep", '{"ms":60000}');
    await waitFor(async () => (await cli("tasks", "--json")).stdout.includes('"LEASED"'), {
      describe: "a running task",
    });
    const { pids } = second;
    second.child.signal("SIGINT");
    await second.line(/"event":"stopping"/);
    await waitFor(
      () => {
        // What comes within half a second is the same press of the key.
        second.child.signal("SIGINT");
        return second.child.isOver;
      },
      { describe: "the end" },
    );
    assert.equal((await second.child.exited).code, 130);
    await waitFor(() => living(pids).length === 0, { describe: "the end of all processes" });
  });
});
